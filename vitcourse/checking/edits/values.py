"""Values: one name, number, layer or default for another."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.axes import place_of
from vitcourse.checking.edits.reference import Function
from vitcourse.checking.edits.telling import Teller, expressions, reads
from vitcourse.checking.edits.trees import Change, expr

_MODES = ("bicubic", "bilinear", "nearest", "nearest-exact", "area")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        skipped = {id(part) for line in function.lines() for part in _elsewhere(line)}
        for teller, node in expressions(function):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Constant):
                yield from _constants(teller, node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield from _another_name(teller, node)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield from _another_attribute(teller, node)
        for argument, default in function.defaults.items():
            yield from _default(function, argument, default)


def _elsewhere(line: ast.stmt) -> Iterator[ast.AST]:
    """The nodes that say an axis, an index or a keyword's name, and formatted strings: other rules are for them."""
    for node in ast.walk(line):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Name):
            yield from (part for part in ast.walk(node.slice) if isinstance(part, ast.Constant | ast.Slice))
        if isinstance(node, ast.Call):
            yield from filter(None, [place_of(node)])
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("transpose", "flatten", "expand"):
                parts = (part for argument in node.args for part in ast.walk(argument))
                yield from (part for part in parts if isinstance(part, ast.Constant))
        if isinstance(node, ast.JoinedStr):
            yield from ast.walk(node)


def is_number(teller: Teller, node: ast.expr) -> bool:
    """Whether an expression is made of numbers alone."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {"math", "len", "self"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return True
    return bool(names) and all(teller.function.kinds.get(name) == "number" for name in names)


def _constants(teller: Teller, node: ast.Constant) -> Iterator[Change]:
    """Another number, another truth, another mode."""
    old = node.value
    if isinstance(old, bool):
        yield teller.change("truth", {id(node): ast.Constant(not old)}, new=str(not old), old=str(old))
    elif isinstance(old, int | float):
        for new in _numbers(old):
            said = {0.5: "½", 0.25: "¼"}.get(new, f"{new:g}")
            times = {2: ", doubled", 0.5: ", halved", -1: ", with the wrong sign", 0: ", so it is left out"}
            how = times.get(new / old, "") if old else ""
            meant = "½" if old == 0.5 else f"{old:g}"
            yield teller.change("number", {id(node): expr(repr(new))}, new=said, old=meant, how=how)
    elif old in _MODES:
        for mode in _MODES:
            if mode != old:
                yield teller.change("mode", {id(node): ast.Constant(mode)}, new=mode, old=str(old))


def _numbers(old: float) -> list[float]:
    """Numbers that are written by mistake: whole ones as such."""
    near = (
        *(2 * old, old / 2, 0, 1, -old, 2, 0.5, old + 1, old - 1, 10 * old, old / 10, 100 * old, old / 100, old**2),
        *(3, 4, -0.5, 1.5, 1 / 3),
    )
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
    for name, other in attributes.items():
        if node.attr in attributes and name != node.attr and other.kind == attributes[node.attr].kind:
            new = {id(node): ast.Attribute(node.value, name, ast.Load())}
            rank = 14 if other.maker == attributes[node.attr].maker else 0
            yield teller.change("another layer", new, rank=rank, other=name, meant=node.attr)


def _default(function: Function, argument: str, default: ast.expr) -> Iterator[Change]:
    """Another default; or it is taken whatever is given."""
    old = default.value if isinstance(default, ast.Constant) else None
    values: list[object] = []
    if isinstance(old, bool):
        values = [not old]
    elif isinstance(old, float):
        values = [*(float(f"{factor * old:.6g}") for factor in (10, 0.1, 1e-6, 0.01, 100, 1000, 0)), 1.0]
        values = values if old else [0.1, 0.5, 0.2, 0.3, 1.0, 0.05]
    elif isinstance(old, int):
        values = [1, 2, 3, 4, 8]
    elif isinstance(old, str):
        values = [node.value for node in ast.walk(function.node) if isinstance(node, ast.Constant)]
    teller = Teller(function, function.lines()[0])
    always = dict.fromkeys(map(id, reads(function, argument)), default)
    yield teller.change("not used", always, name=argument, value=ast.unparse(default))
    for new in (value for value in values if type(value) is type(old) and value != old):
        change = {id(default): ast.Constant(new)}
        yield teller.change("default", change, name=argument, new=repr(new), old=repr(old))
