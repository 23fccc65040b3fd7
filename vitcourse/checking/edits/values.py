"""Values: another operator, operands exchanged or left out, brackets, another constant, one name for another."""

import ast
import itertools
from collections.abc import Iterator
from typing import Any

from vitcourse.checking.edits.axes import place_of
from vitcourse.checking.edits.reference import Function, siblings
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, expr, own_expressions, same

# What one writes for a number that should come from an argument.
FIXED = (1, 2, 3, 4, 5, 8, 10, 12, 16, 64)


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for line in function.lines():
            if isinstance(line, ast.Raise):
                continue
            teller = Teller(function, line)
            skipped = _elsewhere(line)
            for node in own_expressions(line):
                if id(node) in skipped:
                    continue
                if isinstance(node, ast.BinOp):
                    yield from _operator(teller, node)
                    yield from _brackets(teller, node)
                    yield from _operand_fixed(teller, node)
                if isinstance(node, ast.Call):
                    yield from _brackets_of_call(teller, node)
                if isinstance(node, ast.Constant):
                    yield from constants(teller.step, node)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    yield from _another_name(teller, node)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    yield from _another_attribute(teller, node)
        yield from _attributes_exchanged(function)
        yield from _names_exchanged(function)
        yield from _everywhere(function)
        for argument, default in function.defaults.items():
            yield from _default(function, argument, default)


def _elsewhere(line: ast.stmt) -> set[int]:
    """The nodes that say an axis, an index or a keyword's name, and formatted strings: other rules are for them."""
    found: set[int] = set()
    for node in ast.walk(line):
        outside: list[ast.AST] = []
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Name):
            outside = [part for part in ast.walk(node.slice) if isinstance(part, ast.Constant | ast.Slice)]
        if isinstance(node, ast.Call):
            place = place_of(node)
            outside += [place] if place is not None else []
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("transpose", "flatten", "expand"):
                outside += [
                    part for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.Constant)
                ]
        if isinstance(node, ast.JoinedStr):
            outside = list(ast.walk(node))
        found |= {id(part) for part in outside}
    return found


def _operator(teller: Teller, node: ast.BinOp) -> Iterator[Change]:
    """Another operator, operands exchanged or left out."""
    left, right = teller.tell(node.left), teller.tell(node.right)
    name = type(node.op).__name__
    name = f"{name} {right}" if f"{name} {right}" in siblings()["operators"] else name
    for template, says, rank in siblings()["operators"].get(name, ()):
        text = sentence(says.format(left=left, right=right, whole=teller.tell(node)))
        new = expr(template, a=node.left, b=node.right)
        yield Change(f"{text} ({teller.step}).", rank, {id(node): new})


def _brackets(teller: Teller, node: ast.BinOp) -> Iterator[Change]:
    """Brackets set wrongly: what is added is multiplied too, or the other way round."""
    inner = node.left
    sums, products = (ast.Add, ast.Sub), (ast.Mult, ast.Div)
    if isinstance(node.op, sums) and isinstance(inner, ast.BinOp) and isinstance(inner.op, products):
        a, b, c = (teller.tell(part) for part in (inner.left, inner.right, node.right))
        new = ast.BinOp(inner.left, inner.op, ast.BinOp(inner.right, node.op, node.right))
        says = (
            f"{sentence(c)} is added before the multiplication by {a}, to {b}, and so is multiplied by it (scaled) "
            "too; it should be added after it."
        )
        if not isinstance(node.op, ast.Add) or not isinstance(inner.op, ast.Mult):
            says = f"The brackets are set wrongly: {c} belongs outside ({teller.step})."
        yield Change(says, 16, {id(node): new})
    for side, rest in ((node.left, node.right), (node.right, node.left)):
        if isinstance(node.op, products) and isinstance(side, ast.BinOp) and isinstance(side.op, sums):
            a, b, c = (teller.tell(part) for part in (side.left, side.right, rest))
            if side is node.right:
                new = ast.BinOp(ast.BinOp(rest, node.op, side.left), side.op, side.right)
                loose = b
            else:
                new = ast.BinOp(side.left, side.op, ast.BinOp(side.right, node.op, rest))
                loose = a
            says = (
                f"The brackets are set wrongly: {loose} is left out of the "
                f"{'product' if isinstance(node.op, ast.Mult) else 'fraction'} with {c} ({teller.step})."
            )
            yield Change(says, 16, {id(node): new})
    if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.BinOp) and isinstance(node.right.op, products):
        new = ast.BinOp(ast.BinOp(node.left, node.op, node.right.left), node.right.op, node.right.right)
        says = (
            f"The brackets round the exponent are missing: {teller.tell(node.right.right)} stands outside of it "
            f"({teller.step})."
        )
        yield Change(says, 18, {id(node): new})
    if isinstance(node.op, ast.Div) and isinstance(node.right, ast.BinOp) and isinstance(node.right.op, ast.Pow):
        new = ast.BinOp(ast.BinOp(node.left, ast.Div(), node.right.left), ast.Pow(), node.right.right)
        says = (
            f"The brackets are set wrongly: the power is taken of the whole fraction, {teller.tell(node.left)} "
            f"included ({teller.step})."
        )
        yield Change(says, 18, {id(node): new})


def _brackets_of_call(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """f(a + b) and f(a) + b; a power before or after a mean."""
    if (
        len(node.args) == 1
        and isinstance(node.args[0], ast.BinOp)
        and isinstance(node.args[0].op, ast.Add | ast.Mult | ast.Div)
    ):
        inner = node.args[0]
        sign = {ast.Add: "added", ast.Mult: "multiplied", ast.Div: "divided"}[type(inner.op)]
        for inside, outside, first in ((inner.left, inner.right, True), (inner.right, inner.left, False)):
            if not first and isinstance(inner.op, ast.Div):
                continue
            new = ast.BinOp(ast.Call(node.func, [inside], node.keywords), inner.op, outside)
            whole = teller.tell(ast.Call(node.func, [inside], []))
            says = (
                f"{sentence(teller.tell(outside))} stands outside of it, {sign} to {whole}; it belongs inside, "
                f"under it ({teller.step})."
            )
            yield Change(says, 16, {id(node): new})
    if (
        isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.BinOp)
        and isinstance(node.func.value.op, ast.Pow)
    ):
        power = node.func.value
        new = ast.BinOp(
            ast.Call(ast.Attribute(power.left, node.func.attr, ast.Load()), node.args, node.keywords),
            power.op,
            power.right,
        )
        says = (
            f"The {node.func.attr} is taken first, and then the power; each {teller.tell(power.left)} should be "
            f"squared before the {node.func.attr} ({teller.step})."
        )
        yield Change(says, 18, {id(node): new})


def _operand_fixed(teller: Teller, node: ast.BinOp) -> Iterator[Change]:
    """A number of the sizes' making, written in as a constant."""
    if not isinstance(node.op, ast.Div | ast.Mult):
        return
    for side in (node.left, node.right):
        if isinstance(side, ast.Constant) or not is_number(teller, side):
            continue
        for value in FIXED:
            says = (
                f"The constant {value} is written in, hard-coded, where {teller.tell(side)} is meant: another "
                f"number, fixed whatever the sizes are ({teller.step})."
            )
            yield Change(says, 28, {id(side): expr(str(value))})


def is_number(teller: Teller, node: ast.expr) -> bool:
    """Whether an expression is made of numbers alone."""
    names = [
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and part.id not in ("math", "len", "self")
    ]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return True
    return bool(names) and all(teller.function.kinds.get(name) == "number" for name in names)


def constants(step: str, node: ast.Constant) -> Iterator[Change]:
    """Another number, another truth, another mode."""
    old = node.value
    if isinstance(old, bool):
        says = f"{not old} stands where {old} is meant ({step})."
        yield Change(says, 16, {id(node): ast.Constant(not old)})
    elif isinstance(old, int | float):
        for new in _numbers(old):
            said = {0.5: "½", 0.25: "¼"}.get(new, f"{new:g}")
            meant = {0.5: "½"}.get(old, f"{old:g}")
            times = f", {_times(old, new)}" if old and _times(old, new) else ""
            says = f"The number is {said} where {meant} is meant{times} ({step})."
            yield Change(says, 26, {id(node): expr(repr(new))})
    elif isinstance(old, str) and old in _MODES:
        for mode in _MODES:
            if mode != old:
                says = f"The mode is {mode}; it should be {old} ({step})."
                yield Change(says, 14, {id(node): ast.Constant(mode)})


_MODES = ("bicubic", "bilinear", "nearest", "nearest-exact", "area")


def _times(old: float, new: float) -> str:
    return {2: "doubled", 0.5: "halved", -1: "with the wrong sign", 0: "so it is left out"}.get(new / old, "")


def _numbers(old: float) -> list[float]:
    near = [
        2 * old,
        old / 2,
        0,
        1,
        -old,
        2,
        0.5,
        old + 1,
        old - 1,
        10 * old,
        old / 10,
        100 * old,
        old / 100,
        old**2,
        3,
        4,
        -0.5,
        1.5,
        1 / 3,
    ]
    whole = isinstance(old, int) or float(old).is_integer()
    found: list[float] = []
    for value in near:
        new = int(value) if whole and float(value).is_integer() else value
        if new != old and new not in found:
            found.append(new)
    return found


def _another_name(teller: Teller, node: ast.Name) -> Iterator[Change]:
    kinds, scope = teller.function.kinds, teller.function.scope[id(teller.line)]
    kind = kinds.get(node.id)
    if node.id not in scope or kind not in ("tensor", "number", "tuple[int, int]", "str", "bool"):
        return
    meant = teller.name(node.id)
    for other in scope:
        if other == node.id or kinds.get(other) != kind or other == "_":
            continue
        alike = kind == "tensor" and teller.axes.get(other) is not None
        alike_axes = alike and len(teller.axes[other]) == len(teller.axes.get(node.id, ()))
        if kind == "tensor" and not alike:
            continue
        said = teller.name(other)
        says = f"{sentence(said)} stands where {meant} is meant; {meant} is not used there ({teller.step})."
        if said == meant:
            says = f"An earlier or later value of {meant} is used ({teller.step})."
        yield Change(
            says,
            20 if alike_axes or kind != "tensor" else 30,
            {id(node): ast.Name(other, ast.Load())},
        )
    if isinstance(getattr(teller.function.defaults.get(node.id), "value", None), float):
        for value in (0.0, 0.1, 0.5, 0.2):
            says = f"{meant} is fixed at {value} there, hard-coded: a constant where the argument {meant} is meant"
            yield Change(f"{says} ({teller.step}).", 26, {id(node): ast.Constant(value)})
    for template, says, rank in siblings()["names"].get(kind, ()):
        text = sentence(says.replace("{}", meant))
        yield Change(f"{text} ({teller.step}).", rank, {id(node): expr(template, n=node)})


def _another_attribute(teller: Teller, node: ast.Attribute) -> Iterator[Change]:
    attributes = teller.function.attributes
    if not isinstance(node.value, ast.Name) or node.value.id != "self" or node.attr not in attributes:
        return
    if teller.function.name.endswith("__init__"):
        return
    own = attributes[node.attr]
    for template, says, rank in siblings()["names"].get(own.kind, ()):
        text = sentence(says.replace("{}", node.attr))
        yield Change(f"{text} ({teller.step}).", rank, {id(node): expr(template, n=node)})
    for name, other in attributes.items():
        if name == node.attr or other.kind != own.kind:
            continue
        says = f"{name} stands where {node.attr} is meant ({teller.step}): {node.attr} is never applied there."
        rank = 14 if other.maker == own.maker else 24
        yield Change(
            says,
            rank,
            {id(node): ast.Attribute(node.value, name, ast.Load())},
        )


def _names_exchanged(function: Function) -> Iterator[Change]:
    """Two tensors of one shape, each in the other's place in one statement."""
    for line in function.lines():
        teller = Teller(function, line)
        if not isinstance(line, ast.Assign | ast.Return):
            continue
        names = [
            node for node in own_expressions(line) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        ]
        for one, other in itertools.combinations(names, 2):
            if one.id != other.id and teller.axes.get(one.id) == teller.axes.get(other.id) is not None:
                a, b = teller.name(one.id), teller.name(other.id)
                says = (
                    f"{sentence(a)} and {b} are exchanged, swapped: each stands in the other's place ({teller.step})."
                )
                yield Change(says, 20, {id(one): other, id(other): one})


def _attributes_exchanged(function: Function) -> Iterator[Change]:
    """Two layers of one kind, each in the other's place."""
    if function.name.endswith("__init__"):
        return
    uses: dict[str, list[ast.Attribute]] = {}
    for node in ast.walk(function.node):
        if isinstance(node, ast.Attribute) and node.attr in function.attributes and isinstance(node.value, ast.Name):
            uses.setdefault(node.attr, []).append(node)
    for one, other in itertools.combinations(uses, 2):
        if function.attributes[one].kind != function.attributes[other].kind:
            continue
        replace: dict[int, ast.AST | list[ast.stmt]] = {}
        for name, instead in ((one, other), (other, one)):
            replace |= {id(node): ast.Attribute(node.value, instead, ast.Load()) for node in uses[name]}
        rank = 12 if function.attributes[one].maker == function.attributes[other].maker else 30
        yield Change(
            f"{one} and {other} are exchanged, swapped: each stands in the other's place.",
            rank,
            replace,
        )


def _everywhere(function: Function) -> Iterator[Change]:
    """A product of sizes that stands in several places, changed in all of them alike."""
    found: list[tuple[Teller, ast.BinOp]] = []
    for line in function.lines():
        if not isinstance(line, ast.Raise):
            teller = Teller(function, line)
            found += [(teller, node) for node in own_expressions(line) if isinstance(node, ast.BinOp)]
    for place, (teller, node) in enumerate(found):
        alike = [other for _, other in found if same(node, other)]
        if len(alike) < 2 or any(same(node, other) for _, other in found[:place]):
            continue
        inside = [
            change
            for part in ast.walk(node)
            if isinstance(part, ast.Constant)
            for change in constants(teller.step, part)
        ]
        for change in [*_operator(teller, node), *_operand_fixed(teller, node), *inside]:
            new = next(iter(change.replace.values()))
            if id(node) not in change.replace:
                changed = Change("", replace=change.replace).applied(node)
                new = changed
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(other): new for other in alike}
            yield Change(change.says.replace(f" ({teller.step})", ""), change.rank, replace)


def _default(function: Function, argument: str, default: ast.expr) -> Iterator[Change]:
    """Another default."""
    if not isinstance(default, ast.Constant):
        return
    old = default.value
    values: list[Any] = []
    if isinstance(old, bool):
        values = [not old]
    elif isinstance(old, float) and old == 0:
        values = [0.1, 0.5, 0.2, 0.3, 1.0, 0.05]
    elif isinstance(old, float):
        values = [float(f"{factor * old:.6g}") for factor in (10, 0.1, 1e-6, 0.01, 100, 1000, 0)] + [1.0]
    elif isinstance(old, int):
        values = [1, 2, 3, 4, 8]
    elif isinstance(old, str):
        values = [
            node.value
            for node in ast.walk(function.node)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    for new in values:
        if new != old:
            says = f"The default of {argument} is {new!r} here; it should be {old!r}."
            yield Change(says, 14, {id(default): ast.Constant(new)})
