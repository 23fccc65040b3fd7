"""Definitions in a chapter's text: read one out, or put one back, while everything around it stays as it is."""

import ast
import io
from collections.abc import Sequence

from vitcourse.worker.chapters import CONFLICT, UNREADABLE, conflict_in
from vitcourse.worker.started import definitions as bindings

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class NotReplaceableError(ValueError):
    """The definitions can't be put in without touching something else. The message says why, in a few words."""


def definition(source: str, *names: str) -> str:
    """The text of top-level definitions, from first decorator to last line each. Raises KeyError without one."""
    lines, places = lines_of(source), definitions(source)
    return "\n\n\n".join("".join(lines[slice(*places[name])]).rstrip("\n") for name in names)


def constants(source: str) -> dict[str, str]:
    """The text of each top-level assignment that gives one name its value. Raises SyntaxError."""
    lines, found = lines_of(source), {}
    for node in ast.parse(source).body:
        for name in {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}:
            if not isinstance(node, _DEFINITIONS) and _binds(node, name):
                start, end = _lines(node)
                found[name] = "".join(lines[start:end]).rstrip("\n")
    return found


def definitions(source: str) -> dict[str, tuple[int, int]]:
    """The lines of each top-level definition, counted from 0; the last of a name counts. Raises SyntaxError."""
    return {node.name: _lines(node) for node in ast.parse(source).body if isinstance(node, _DEFINITIONS)}


def with_definitions(source: str, stub: str, names: Sequence[str]) -> str:
    """The source in which each of the names is defined, or assigned, as in the stub, once; all the rest is as it was.

    A name that the source no longer defines comes back after what stands before it in the stub.
    Raises NotReplaceableError when the source can't be parsed, or when the names are bound in other ways too.
    """
    text, rest = source, _others(source, names)
    for name in names:
        text = _with_definition(text, stub, name)
    if _others(text, names) != rest:
        raise NotReplaceableError(f"{' or '.join(names)} stands on one line with something else")
    for node in _imports(text):
        for alias in node.names:
            if (alias.asname or alias.name) in names:
                raise NotReplaceableError(f"line {node.lineno} imports {alias.asname or alias.name}")
    return text


def with_imports(source: str, other: str, before: str = "") -> str:
    """The source with the imports of the other text that it lacks, after its own. Raises SyntaxError.

    One that stood in the text before, too, was taken out: it comes back only where the source uses its name.
    """
    nodes = _imports(source)
    known, old = ({part for node in found for part in _parts(node)} for found in (nodes, _imports(before)))
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)} - bindings(source).keys()

    def is_wanted(part: str) -> bool:
        return part not in known and (part not in old or _bound(part) in used)

    lines, place = lines_of(source), (nodes[-1].end_lineno or 0) if nodes else 0
    lines[place:place] = [f"{ast.unparse(node)}\n" for node in _imports(other) if any(map(is_wanted, _parts(node)))]
    return "".join(lines)


def fault_in(source: str, error: Exception) -> str:
    """Why a text can't be read as Python, and in which line where that is known; a merge conflict is called one."""
    line, message = getattr(error, "lineno", None), getattr(error, "msg", None) or str(error)
    if conflict := conflict_in(source):
        line, message = conflict, CONFLICT
    elif isinstance(error, RecursionError | MemoryError):
        message = "it is nested too deeply"
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {message}"


def _imports(source: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def _parts(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import brings, each name for itself."""
    origin = f"{node.level} {node.module}" if isinstance(node, ast.ImportFrom) else ""
    return [f"{origin} {alias.name} {alias.asname}" for alias in node.names]


def _bound(part: str) -> str:
    """The name that such a part gives its meaning."""
    name, other = part.split(" ")[-2:]
    return name.partition(".")[0] if other == "None" else other


def _with_definition(source: str, stub: str, name: str) -> str:
    lines = lines_of(source)
    text = definition(stub, name) if name in definitions(stub) else constants(stub)[name]
    fresh = [f"{line}\n" for line in text.split("\n")]
    bound = [_lines(node) for node in _parsed(source).body if _binds(node, name)]
    if not bound:
        return _inserted(source, stub, name, fresh)
    for start, end in reversed(bound):
        lines[start:end] = fresh if (start, end) == bound[0] else []
    return "".join(lines)


def _inserted(source: str, stub: str, name: str, fresh: list[str]) -> str:
    lines = lines_of(source)
    order = [node.name for node in ast.parse(stub).body if isinstance(node, _DEFINITIONS)]
    earlier = order[: order.index(name)]
    ends = [_lines(node)[1] for node in _parsed(source).body if getattr(node, "name", None) in earlier]
    place = max(ends, default=len(lines))
    if place and not lines[place - 1].endswith("\n"):
        lines[place - 1] += "\n"
    lines[place:place] = ["\n", "\n", *fresh]
    return "".join(lines)


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except UNREADABLE as error:
        raise NotReplaceableError(fault_in(source, error)) from error


def _others(source: str, names: Sequence[str]) -> list[str]:
    """Every statement of the module but those that bind the names."""
    return [ast.dump(node) for node in _parsed(source).body if not any(_binds(node, name) for name in names)]


def _binds(node: ast.stmt, name: str) -> bool:
    """Whether a statement does nothing but give the name its meaning."""
    if isinstance(node, _DEFINITIONS):
        return node.name == name
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name


def _lines(node: ast.stmt) -> tuple[int, int]:
    """The range of a statement's lines, counted from 0."""
    decorators = getattr(node, "decorator_list", [])
    return min(part.lineno for part in (node, *decorators)) - 1, node.end_lineno or node.lineno


def lines_of(source: str) -> list[str]:
    """The lines of a text, each with its end."""
    # As Python's parser counts lines: str.splitlines would also end them at form feeds.
    return list(io.StringIO(source))
