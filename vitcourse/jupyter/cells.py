"""An answer in a notebook's cell becomes part of the chapter's file: it is written in the cell, and the file counts."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from vitcourse.definitions import NotReplaceableError, definition, lines_of, with_definitions
from vitcourse.errors import RequestError

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Cell:
    """A cell's statements by what becomes of them: imports, definitions, constants for the file; the rest is run."""

    text: str
    imports: tuple[str, ...]
    names: tuple[str, ...]
    constants: tuple[ast.Assign | ast.AnnAssign, ...]
    rest: str


def read_cell(text: str, wanted: Sequence[str]) -> Cell:
    """Read a cell that should define one of the wanted names, or all.

    Raises RequestError when it can't be read as Python, or defines none of them.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line = (error.lineno or 0) + 1  # the cell's first line is the magic
        raise RequestError(f"line {line} of the cell: {type(error).__name__}: {error.msg}") from error
    names = [node.name for node in tree.body if isinstance(node, _DEFINITIONS)]
    if not set(names) & set(wanted):
        raise RequestError(f"the cell defines no {' or '.join(wanted)}; write the answer below the first line")
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    constants = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and _bound_by(node)]
    taken = (*_DEFINITIONS, ast.Import, ast.ImportFrom)
    left = [node for node in tree.body if not isinstance(node, taken) and node not in constants and not _is_text(node)]
    rest = "\n".join(ast.get_source_segment(text, node) or "" for node in left)
    return Cell(text, tuple(imports), tuple(names), tuple(constants), rest)


def with_cell(source: str, cell: Cell, wanted: Sequence[str]) -> str:
    """The chapter's text with the cell's answer in the place of what it had.

    Raises RequestError when the chapter can't be read, or what stands there can't be replaced alone.
    """
    try:
        own = [name for name in cell.names if name in wanted]
        helpers = [name for name in cell.names if name not in wanted]
        there = _defined(source)
        after = with_definitions(source, cell.text, own + [name for name in helpers if name in there])
        fresh = [ast.get_source_segment(cell.text, node) or "" for node in cell.constants if not _stands(node, there)]
        fresh += [definition(cell.text, name) for name in helpers if name not in there]
        after = _inserted_before(after, own[0], fresh)
        for constant in cell.constants:
            if _stands(constant, there):
                after = _with_constant(after, constant, cell.text)
        return _with_imports(after, cell.imports)
    except (NotReplaceableError, SyntaxError, ValueError) as error:
        raise RequestError(f"the chapter's file can't be changed ({error}); mend it, or reset the chapter") from error


def _bound_by(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _stands(node: ast.Assign | ast.AnnAssign, there: Sequence[str]) -> bool:
    return all(name in there for name in _bound_by(node))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _defined(source: str) -> list[str]:
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, _DEFINITIONS):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names += _bound_by(node)
    return names


def _inserted_before(source: str, name: str, fresh: Sequence[str]) -> str:
    if not fresh:
        return source
    lines = lines_of(source)
    node = next(node for node in ast.parse(source).body if getattr(node, "name", "") == name)
    decorators = getattr(node, "decorator_list", [])
    start = min(part.lineno for part in (node, *decorators)) - 1
    lines[start:start] = [f"{text}\n\n\n" for text in fresh]
    return "".join(lines)


def _with_constant(source: str, constant: ast.Assign | ast.AnnAssign, text: str) -> str:
    lines = lines_of(source)
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _bound_by(node) == _bound_by(constant):
            lines[node.lineno - 1 : node.end_lineno] = [f"{ast.get_source_segment(text, constant)}\n"]
    return "".join(lines)


def _with_imports(source: str, imports: Sequence[str]) -> str:
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    known = {part for node in nodes for part in _parts(node)}
    fresh = [text for text in imports if not set(_parts(ast.parse(text).body[0])) <= known]
    if not fresh:
        return source
    lines = lines_of(source)
    place = nodes[-1].end_lineno or 0 if nodes else 0
    lines[place:place] = [f"{text}\n" for text in fresh]
    return "".join(lines)


def _parts(node: ast.stmt) -> list[str]:
    """What an import brings, each name for itself."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.level} {node.module} {alias.name} {alias.asname}" for alias in node.names]
    return [f"{alias.name} {alias.asname}" for alias in node.names] if isinstance(node, ast.Import) else []
