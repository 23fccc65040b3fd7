"""Statements: left out, or done once more."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Axes, Function, called, target
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions but __init__."""
    for function in own:
        for line in [] if function.name.endswith("__init__") else function.lines():
            yield from _left_out(Teller(function, line), line)
            yield from _again(Teller(function, line), line)


def after(function: Function, line: ast.stmt) -> dict[str, Axes]:
    """The axes of the names after a statement."""
    lines = function.lines()
    place = lines.index(line)
    return function.axes[id(lines[place + 1])] if place + 1 < len(lines) else {}


def _passed(teller: Teller, line: ast.stmt) -> ast.Name | None:
    """The one tensor of which a statement makes another, and which could be passed on as it is."""
    if not target(line) or not isinstance(line, ast.Assign) or not isinstance(line.value, ast.Call | ast.BinOp):
        return None
    names = [node for node in ast.walk(line.value) if isinstance(node, ast.Name) and node.id in teller.axes]
    return names[0] if len(names) == 1 else None


def _left_out(teller: Teller, line: ast.stmt) -> Iterator[Change]:
    name, passed = target(line), _passed(teller, line)
    if isinstance(line, ast.Return):
        yield teller.change("no return", {id(line): []})
    elif isinstance(line, ast.With):
        yield teller.change("never applied", {id(line): line.body})
    elif name and name not in teller.function.scope[id(line)]:  # it must come from somewhere
        if passed is not None and isinstance(line, ast.Assign):
            yield teller.change("never applied", {id(line.value): passed})
    elif not getattr(line, "orelse", []):
        yield teller.change("never applied", {id(line): []})


def _again(teller: Teller, line: ast.stmt) -> Iterator[Change]:
    """A statement that keeps the shape of a tensor, done once more after it or another one."""
    function, passed = teller.function, _passed(teller, line)
    if passed is None or not isinstance(line, ast.Assign):
        return
    axes = teller.axes[passed.id]
    read = {node.id for node in ast.walk(line.value) if isinstance(node, ast.Name)} - {passed.id, "self"}
    for other in function.lines() if after(function, line).get(target(line)) == axes else ():
        name = target(other)
        if after(function, other).get(name) == axes and read & set(function.kinds) <= set(function.scope[id(other)]):
            value = Change("", {id(passed): ast.Name(name, ast.Load())}).applied(line.value)
            more = ast.Assign([ast.Name(name, ast.Store())], value)
            noun = called(line.value) or "one"
            yield teller.change("a second", {id(other): [other, more]}, noun=noun, where=function.step(other))
