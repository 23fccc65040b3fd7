"""Whether an exercise was begun: a chapter's text beside the stub's, as syntax trees and without running them."""

import ast
from collections.abc import Sequence


def started(source: str, stub: str, names: Sequence[str]) -> bool:
    """Whether anything in the bodies of these definitions differs from the stub's.

    Comments, docstrings, signatures and layout don't count; whatever else was touched does, whatever it raises.
    """
    try:
        mine = definitions(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It can't be parsed: an exercise is untouched where the stub's own lines still stand.
        return not all(text in source for text in _texts(stub, names))
    return any(mine.get(name) != definitions(stub)[name] for name in names)


def definitions(source: str) -> dict[str, str]:
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


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    parts = []
    for statement in statements:
        if isinstance(statement, _DEFINITIONS):
            parts.append(f"{statement.name}: {_body(statement)}")
        else:
            parts.append(ast.dump(statement))
    return "\n".join(parts)
