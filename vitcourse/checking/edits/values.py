"""Values: one name, number, layer, slice or default for another."""

import ast
from collections.abc import Iterator
from typing import Any

from vitcourse.checking.edits.reference import Function, table
from vitcourse.checking.edits.telling import Teller, expressions, reads
from vitcourse.checking.edits.trees import Change, expr

_MODES = ("bicubic", "bilinear", "nearest", "nearest-exact", "area")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if isinstance(node, ast.BinOp):
                yield from _another_number(teller, [node.left, node.right])
            if isinstance(node, ast.Call):
                yield from _another_choice(teller, [keyword.value for keyword in node.keywords])
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield from _another_name(teller, node)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield from _another_attribute(teller, node)
            if isinstance(node, ast.Subscript):
                yield from _another_slice(teller, node)
        for argument, default in function.defaults.items():
            yield from _default(function, argument, default)


def is_number(teller: Teller, node: ast.expr) -> bool:
    """Whether an expression is made of numbers alone."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {"math", "len", "self"}
    return bool(names) and all(teller.function.kinds.get(name) == "number" for name in names)


def _another_number(teller: Teller, parts: list[ast.expr]) -> Iterator[Change]:
    for node in parts:
        if isinstance(node, ast.Constant) and isinstance(old := node.value, int | float):
            for new in _numbers(old):
                times = {2: ", doubled", 0.5: ", halved", -1: ", with the wrong sign", 0: ", so it is left out"}
                how = times.get(new / old, "") if old else ""
                said, meant = ({0.5: "½", 0.25: "¼"}.get(value, f"{value:g}") for value in (new, old))
                yield teller.change("number", {id(node): expr(repr(new))}, new=said, old=meant, how=how)


def _another_choice(teller: Teller, parts: list[ast.expr]) -> Iterator[Change]:
    """Another truth, another mode."""
    for node in (part for part in parts if isinstance(part, ast.Constant)):
        others = [not node.value] if isinstance(node.value, bool) else _MODES if node.value in _MODES else []
        for new in (other for other in others if other != node.value):
            yield teller.change("choice", {id(node): ast.Constant(new)}, new=str(new), old=str(node.value))


def _numbers(old: float) -> list[float]:
    """Numbers that are written by mistake: whole ones as such."""
    near = (2 * old, old / 2, -old, old + 1, old - 1, 10 * old, old / 10, old**2, 0, 1, 2, 3, 0.1, 0.5, -0.5)
    whole = float(old).is_integer()
    found = [int(value) if whole and float(value).is_integer() else value for value in near]
    return [value for value in dict.fromkeys(found) if value != old]


def _another_name(teller: Teller, node: ast.Name) -> Iterator[Change]:
    kinds, scope = teller.function.kinds, teller.function.scope[id(teller.line)]
    kind = kinds.get(node.id, "")
    if node.id not in scope or kind not in ("tensor", "number", "tuple[int, int]", "str", "bool"):
        return
    for name in scope:
        if name in (node.id, "_") or kinds.get(name) != kind or (kind == "tensor" and name not in teller.axes):
            continue
        other = ast.Name(name, ast.Load())
        unlike = kind == "tensor" and len(teller.axes[name]) != len(teller.axes.get(node.id, ()))
        phrase = "earlier or later value" if teller.name(name) == teller.name(node.id) else "another name"
        yield teller.change(phrase, {id(node): other}, rank=30 if unlike else 0, other=other, meant=node)


def _another_attribute(teller: Teller, node: ast.Attribute) -> Iterator[Change]:
    attributes = {} if teller.function.name.endswith("__init__") else teller.function.attributes
    for name, kind in attributes.items():
        if name != node.attr and kind == attributes.get(node.attr):
            new = {id(node): ast.Attribute(node.value, name, ast.Load())}
            yield teller.change("another layer", new, other=name, meant=node.attr)


def _another_slice(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """Off by one, from the other end, not at all."""
    for place in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
        if isinstance(place, ast.Slice):
            lower, upper, step = place.lower, place.upper, place.step
            kind = "step" if step else "from" if lower and not upper else "to" if upper and not lower else ""
            ends = {letter: end for letter, end in zip("lus", (lower, upper, step), strict=True) if end is not None}
            for template, said in table("siblings")["slices"].get(kind, ()):
                new = expr(template, **{"l": ast.Constant(0), **ends})
                assert isinstance(new, ast.Subscript)
                yield teller.change("slice", {id(place): new.slice}, of=node.value, said=said)


def _default(function: Function, argument: str, default: ast.expr) -> Iterator[Change]:
    """Another default; or it is taken whatever is given."""
    old = default.value if isinstance(default, ast.Constant) else None
    others: list[Any] = []
    if isinstance(old, bool):
        others = [not old]
    elif isinstance(old, int | float):
        others = [new for new in _numbers(old) if isinstance(new, type(old) | int)]
    elif isinstance(old, str):
        others = [node.value for node in ast.walk(function.node) if isinstance(node, ast.Constant)]
    teller = Teller(function, function.lines()[0])
    for new in (other for other in others if other != old):
        yield teller.change("default", {id(default): ast.Constant(new)}, name=argument, new=repr(new), old=repr(old))
    always = dict.fromkeys(map(id, reads(function, argument)), default)
    yield teller.change("not used", always, name=argument, value=ast.unparse(default))
