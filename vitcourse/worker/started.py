"""Whether an exercise was begun: a chapter's text beside the stub's, as syntax trees and without running them."""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from .chapters import UNREADABLE


def started(source: str, stubs: Sequence[str], names: Sequence[str]) -> bool:
    """Whether anything in the bodies of these definitions differs from those of every stub.

    Comments, docstrings, signatures and layout don't count; whatever else was touched does, whatever it raises. The
    first stub is the course's own; others, or bodies that only raise as stubs do, come from an older course.
    """
    try:
        mine, untouched = definitions(source), _untouched(source, stubs[0])
    except UNREADABLE:
        # It can't be parsed: an exercise is untouched where a stub's own lines still stand.
        return not any(all(text in source for text in _texts(stub, names)) for stub in stubs)
    known = [definitions(stub) for stub in stubs]
    return any(name not in untouched and mine.get(name) not in [stub.get(name) for stub in known] for name in names)


@lru_cache(32)  # a chapter is asked about once for each of its exercises
def definitions(source: str) -> Mapping[str, str]:
    """What a module's top level binds, by name: definitions, assignments, imports. The last of a name counts."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, _DEFINITIONS):
            found[node.name] = _body(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update({alias.asname or alias.name: ast.dump(node) for alias in node.names})
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update({target.id: ast.dump(node) for target in targets if isinstance(target, ast.Name)})
    return found


def _texts(stub: str, names: Sequence[str]) -> list[str]:
    found = (ast.get_source_segment(stub, node) for node in ast.parse(stub).body if getattr(node, "name", "") in names)
    return [text for text in found if text]


@lru_cache(32)
def _untouched(source: str, stub: str) -> set[str]:
    """The definitions in which every function only raises as a stub does, and none of the stub's own is missing."""
    methods = {node.name: _functions(node).keys() for node in ast.parse(stub).body if isinstance(node, _DEFINITIONS)}
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, _DEFINITIONS):
            own = _functions(node)
            raises = own.keys() >= methods.get(node.name, set()) and all(map(_only_raises, own.values()))
            (found.add if own and raises else found.discard)(node.name)
    return found


def _functions(node: ast.stmt) -> dict[str, ast.stmt]:
    """A function itself, or the parts of a class, all of which should be functions."""
    parts = _statements(node) if isinstance(node, ast.ClassDef) else [node]
    return {getattr(part, "name", f"line {part.lineno}"): part for part in parts}


def _only_raises(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef):
        return False
    words = [ast.unparse(statement) for statement in _statements(node)]
    before = ["super().__init__()"] if node.name == "__init__" else []
    return words[:-1] == before and _RAISES.fullmatch("".join(words[-1:])) is not None


# How every stub ends, and always did.
_RAISES = re.compile(
    r"raise NotImplementedError\('exercise (\d+\.\d+) is yours to write; for a hint: vitcourse hint \1'\)"
)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    parts = []
    for statement in _statements(node):
        if isinstance(statement, _DEFINITIONS):
            parts.append(f"{statement.name}: {_body(statement)}")
        else:
            parts.append(ast.dump(statement))
    return "\n".join(parts)


def _statements(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body
