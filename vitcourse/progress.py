"""What a learner has started: chapters compared with the pristine stubs, as syntax trees and without running them."""

import ast
from functools import cache
from importlib import resources

from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercises
from vitcourse.definitions import definition


def is_started(code: CodeSet, exercise: Exercise) -> bool:
    """Whether anything in the exercise's body differs from the stub's.

    Comments, docstrings, signatures and layout don't count; whatever else was touched does, whatever it raises.
    A chapter whose file is missing is not started.
    """
    source = code.source(exercise.module)
    if source is None:
        return False
    stub = pristine(exercise.module)
    try:
        mine = definitions(source)
    except (SyntaxError, ValueError):
        # The file can't be parsed: an exercise is untouched where the stub's own lines still stand.
        return not all(definition(stub, name) in source for name in exercise.names)
    return any(mine.get(name) != definitions(stub)[name] for name in exercise.names)


def missing_exercises(code: CodeSet) -> list[Exercise]:
    """The exercises of the course that are not started in this set."""
    return [exercise for exercise in exercises() if not is_started(code, exercise)]


@cache
def pristine(module: str) -> str:
    """The text of a chapter's stub, as the course ships it."""
    return resources.files("vitcourse.pristine").joinpath(f"{module}.py").read_text(encoding="utf-8")


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
