"""The references as edits see them: each function with its steps, and the axes, kinds and words of its names."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from vitcourse.checking.edits.trees import bare, parents, statements
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, chapters, exercises

Axes = tuple[str, ...]
Definition = ast.FunctionDef | ast.ClassDef


@cache
def table(name: str) -> dict[str, Any]:
    """What one of this folder's files holds, by its name."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def words() -> dict[str, Any]:
    """What statements do and names stand for: words.toml."""
    return table("words")


@cache
def phrases() -> dict[str, tuple[int, str]]:
    """What rules say, each with its rank: phrases.toml."""
    return {name: phrase for group in table("phrases").values() for name, phrase in group.items()}


@dataclass
class Function:
    """One function of a chapter, and of what kind its arguments, and the attributes that its class keeps, are.

    Axes and scope are those of its names at each statement, by the statement's identity.
    """

    exercise: str
    name: str
    definition: Definition
    node: ast.FunctionDef
    attributes: dict[str, str]
    steps: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    axes: dict[int, dict[str, Axes]] = field(default_factory=dict)
    scope: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """Their names, without self."""
        return [argument.arg for argument in self.node.args.args if argument.arg != "self"]

    @property
    def defaults(self) -> dict[str, ast.expr]:
        """The arguments that have a default, and it."""
        given = self.node.args.defaults
        return dict(zip(self.arguments[len(self.arguments) - len(given) :], given, strict=True))

    def lines(self) -> list[ast.stmt]:
        """All its statements, in order."""
        return list(statements(self.node.body))

    def step(self, statement: ast.stmt) -> str:
        """What a statement does."""
        return self.steps[id(statement)]


@dataclass(frozen=True)
class Chapter:
    """A chapter of the references, the functions in it, and in which node each of its nodes stands."""

    tree: ast.Module
    functions: tuple[Function, ...]
    parents: dict[int, int]

    def needing(self, changed: set[str]) -> list[Definition]:
        """The definitions that must run again for those of these names to take effect, themselves included."""
        found = []
        for statement in definitions(self.tree):
            if statement.name in changed or _names_in(statement) & changed:
                found.append(statement)
                changed = changed | {statement.name}
        return found


@cache
def _names_in(statement: ast.stmt) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def called(value: ast.AST) -> str:
    """The last name of what an expression calls; empty where it calls nothing."""
    if not isinstance(value, ast.Call):
        return ""
    return value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")


def target(line: ast.stmt) -> str:
    """The name to which a statement gives a value; empty where it gives none to one."""
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id
    return ""


def definitions(tree: ast.Module) -> list[Definition]:
    """The functions and classes of a chapter."""
    return [statement for statement in tree.body if isinstance(statement, Definition)]


@cache
def chapter(module: str) -> Chapter:
    """The reference's chapter of that module, without docstrings and annotations."""
    source = load_code("solutions").source(module) or ""
    tree = ast.parse(source)
    comments = dict(_shape_comments(source))
    functions = [
        _function(module, statement, node, comments)
        for statement in definitions(tree)
        for node in (statement.body if isinstance(statement, ast.ClassDef) else [statement])
        if isinstance(node, ast.FunctionDef)
    ]
    return Chapter(bare(tree), tuple(functions), parents(tree))


@cache
def all_functions() -> list[Function]:
    """Those of all chapters."""
    return [function for entry in chapters() for function in chapter(entry.module).functions]


@cache
def functions_of(exercise: Exercise) -> tuple[list[Function], list[Function]]:
    """The functions that an exercise asks for, and those of its chapter on which it stands."""
    functions = chapter(exercise.module).functions
    own = [function for function in functions if function.exercise == exercise.id]
    used = frozenset().union(*(_names_in(function.definition) for function in own))
    below = [
        function
        for function in functions
        if function.exercise in exercise.needs or (not function.exercise and function.name in used)
    ]
    return own, below


@cache
def public_names() -> frozenset[str]:
    """The names that are written as they are: arguments, what modules hold, symbols."""
    found = (name for function in all_functions() for name in (*function.arguments, *function.attributes))
    return frozenset((*words()["symbols"].values(), *words()["axes"], *found))


def _function(module: str, definition: Definition, node: ast.FunctionDef, comments: dict[int, list[Axes]]) -> Function:
    top = definition.name
    owner = next((entry.id for entry in exercises() if entry.module == module and top in entry.names), "")
    name = node.name if node is definition else f"{top}.{node.name}"
    attributes = _attributes(definition) if isinstance(definition, ast.ClassDef) else {}
    function = Function(owner, name, definition, node, attributes)
    said = words()["function"].get(name, {})
    body = node.body[1:] if ast.get_docstring(node) else node.body
    phrases = said.get("steps", [])
    lines = list(statements(body))
    if len(lines) != len(phrases):
        raise ValueError(f"words.toml: {name} has {len(lines)} statements and {len(phrases)} steps")
    function.steps = {id(line): phrase for line, phrase in zip(lines, phrases, strict=True)}
    function.names.update(said.get("names", {}))
    axes: dict[str, Axes] = {}
    for argument in node.args.args:
        kind, shape = _annotated(argument.annotation)
        function.kinds[argument.arg] = kind
        if shape is not None:
            axes[argument.arg] = shape
    scope = {argument.arg: None for argument in node.args.args if argument.arg != "self"}
    for line in lines:
        function.axes[id(line)] = dict(axes)
        function.scope[id(line)] = tuple(scope)
        for target, shape in _assigned(line, comments):
            scope[target] = None
            if shape is not None:
                axes[target] = shape
            function.kinds[target] = "tensor" if shape is not None else function.kinds.get(target, _kind(line))
    return function


def _assigned(line: ast.stmt, comments: dict[int, list[Axes]]) -> Iterator[tuple[str, Axes | None]]:
    if isinstance(line, ast.For) and isinstance(line.target, ast.Name):
        yield line.target.id, None
    if not isinstance(line, ast.Assign):
        return
    target = line.targets[0]
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    shapes = comments.get(line.end_lineno or line.lineno, [])
    for place, name in enumerate(names):
        if isinstance(name, ast.Name):
            shape = shapes[min(place, len(shapes) - 1)] if shapes else None
            yield name.id, shape


def _kind(line: ast.stmt) -> str:
    """The kind of what a statement makes, where it is no tensor: a number, mostly."""
    if isinstance(line, ast.For):
        return "number" if called(line.iter) == "range" else "item"
    if isinstance(line, ast.Assign) and isinstance(line.value, ast.Attribute) and line.value.attr == "training":
        return "bool"
    made = isinstance(line, ast.Assign) and isinstance(line.value, ast.Dict | ast.DictComp | ast.List)
    return "item" if made or (isinstance(line, ast.Assign) and called(line.value)[:1].isupper()) else "number"


def _attributes(definition: ast.ClassDef) -> dict[str, str]:
    """What is kept on self: each name with its kind, module, parameter or number."""
    found = {}
    for node in ast.walk(definition):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            made = {"": "number", "Parameter": "parameter"}
            found[node.targets[0].attr] = made.get(called(node.value), "module")
        if called(node) == "register_buffer" and isinstance(node, ast.Call):
            found.setdefault(str(ast.literal_eval(node.args[0])), "parameter")
    return found


def _annotated(annotation: ast.expr | None) -> tuple[str, Axes | None]:
    """The kind of an argument, and the axes of a tensor, from its annotation."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        shape = annotation.slice.elts[-1]
        if isinstance(shape, ast.Constant):
            return "tensor", tuple(str(shape.value).replace("...", "…").replace("*", "·").split())
    text = ast.unparse(annotation) if annotation else ""
    return {"int": "number", "float": "number"}.get(text, text), None


def _shape_comments(source: str) -> Iterator[tuple[int, list[Axes]]]:
    for number, line in enumerate(source.splitlines(), start=1):
        _, found, comment = line.partition("  # ")
        if found:
            shapes = re.findall(r"\(([^()]*)\)", comment.split(", the ")[0].split(", a ")[0])
            if "same shape" in comment:
                shapes = ["…"]
            yield number, [tuple(axis.strip() for axis in shape.split(",") if axis.strip()) for shape in shapes]
