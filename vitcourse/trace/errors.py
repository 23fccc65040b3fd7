"""Which axes disagree, where torch's own message has numbers only."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod

from vitcourse.trace.record import Axis, Shape, shape_words

_ELEMENTWISE = """
    add sub mul truediv div radd rsub rmul rtruediv where lerp eq ne lt le gt ge iadd isub imul idiv maximum minimum
    mse_loss l1_loss smooth_l1_loss huber_loss masked_fill addcmul addcdiv
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
Operands = Sequence[tuple[str, Shape]]


def explained(
    op: str, operands: Operands, module: str, numbers: Sequence[object], held: Mapping[str, tuple[int, int]]
) -> str:
    """One sentence on the shapes that don't go together; empty where it is not the shapes, or nothing is known.

    `held` is the least and the largest number in each tensor of whole numbers.
    """
    if not operands:
        return ""
    (x, shape), *others = operands
    other, second = others[0] if others else ("", ())
    takes = module or other
    recurrent = next((weight for word, weight in others if "weight_ih" in word or "in_proj_weight" in word), ())
    if recurrent and shape and shape[-1].size != recurrent[-1].size:
        return f"{x}'s last axis is {_size(shape[-1])}, {takes} takes {_size(recurrent[-1])}"
    if op in ("linear", "bilinear") and second and shape and shape[-1].size != second[-1].size:
        return f"{x}'s last axis is {_size(shape[-1])}, {takes} takes {_size(second[-1])}"
    if op in ("matmul", "mm", "bmm", "dot", "mv") and second and shape:
        inner = second[-2] if len(second) > 1 else second[-1]
        if shape[-1].size != inner.size:
            place = "last axis but one" if len(second) > 1 else "last axis"
            return f"{x}'s last axis is {_size(shape[-1])}, {other}'s {place} is {_size(inner)}: they must be equal"
        return _broadcast(x, shape[:-2], other, second[:-2], 2)
    if op == "scaled_dot_product_attention" and second and shape and shape[-1].size != second[-1].size:
        return f"{x}'s last axis is {_size(shape[-1])}, {other}'s is {_size(second[-1])}: they must be equal"
    if op.startswith("conv") and len(second) > 2:
        wanted = len(second) - 1
        if len(shape) not in (wanted, wanted + 1):
            return f"{x} has {len(shape)} axes {shape_words(shape)}, {takes} takes {wanted + 1}"
        channels = shape[-wanted]
        if channels.size != second[1].size:
            return f"{x} has {_size(channels)} channels, {takes} takes {_size(second[1])}"
    if op in ("layer_norm", "rms_norm", "native_layer_norm") and shape and second and shape[-1].size != second[-1].size:
        return f"{x}'s last axis is {_size(shape[-1])}, {takes} takes {_size(second[-1])}"
    if op in ("cat", "concat", "stack"):
        return _put_together(op, operands, numbers)
    if op in ("view", "reshape"):
        return _reshape(op, x, shape, numbers)
    if op in ("expand", "broadcast_to"):
        return _expand(x, shape, [n for n in numbers if isinstance(n, int)])
    if op == "embedding" and second:
        return _beyond(x, held, takes, second[0].size, _size(second[0]) + " rows")
    if op in ("cross_entropy", "nll_loss") and shape and second:
        return _targets(x, shape, other, second, held)
    if op.startswith("binary_cross_entropy") and [a.size for a in shape] != [a.size for a in second]:
        return f"{x} is {shape_words(shape)}, {other} {shape_words(second)}: they must have one shape"
    if op in ("batch_norm", "instance_norm") and len(shape) > 1 and second and shape[1].size != second[0].size:
        return f"{x} has {_size(shape[1])} channels, {takes} takes {_size(second[0])}"
    if op == "scaled_dot_product_attention" and len(others) > 2 and len(shape) > 1:
        return _broadcast("the score", (*shape[:-1], second[-2]), *others[2], 0)
    if op.strip("_") in ELEMENTWISE:
        said = (_broadcast(*one, *two, 0) for one, two in combinations(operands, 2))
        return next(filter(None, said), "") or (_expand(x, shape, [a.size for a in second]) if op[-1] == "_" else "")
    return ""


def _size(axis: Axis) -> str:
    return str(axis.size) if axis.name is None else f"{axis.size} = {axis.name}"


def ordinal(place: int, count: int) -> str:
    """Which of so many axes it is, in a word."""
    names = ("first", "second", "third", "fourth", "fifth")
    return "last" if place == count - 1 and count > 1 else names[place] if place < len(names) else f"{place + 1}th"


def _broadcast(x: str, one: Shape, y: str, two: Shape, behind: int) -> str:
    for back in range(1, min(len(one), len(two)) + 1):
        a, b = one[-back], two[-back]
        if a.size != b.size and 1 not in (a.size, b.size):
            first, second = ordinal(len(one) - back, len(one) + behind), ordinal(len(two) - back, len(two) + behind)
            return f"{x}'s {first} axis is {_size(a)}, {y}'s {second} is {_size(b)}, and axes match from the last one"
    return ""


def _put_together(op: str, operands: Operands, numbers: Sequence[object]) -> str:
    (x, one), *others = operands
    dim = next((n for n in numbers if isinstance(n, int)), 0) % max(len(one), 1)
    for y, two in others:
        if len(one) != len(two):
            return f"{x} has {len(one)} axes {shape_words(one)}, {y} {len(two)} {shape_words(two)}"
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            if a.size != b.size and (op == "stack" or place != dim):
                where = ordinal(place, len(one))
                along = "" if op == "stack" else f", and only the {ordinal(dim, len(one))} may differ"
                return f"{x}'s {where} axis is {_size(a)}, {y}'s is {_size(b)}{along}"
    return ""


def _expand(x: str, shape: Shape, asked: Sequence[int]) -> str:
    for back, size in enumerate(reversed(asked), start=1):
        if back <= len(shape) and size not in (-1, 1, (axis := shape[-back]).size):
            where = ordinal(len(shape) - back, len(shape))
            return f"{x}'s {where} axis is {_size(axis)}, and {size} is asked: it keeps its size here"
    return ""


def _targets(x: str, shape: Shape, y: str, targets: Shape, held: Mapping[str, tuple[int, int]]) -> str:
    """The classes are on the second axis of what is compared with targets."""
    if shape[0].size != targets[0].size:
        return f"{x} has {_size(shape[0])} rows, {y} {_size(targets[0])}"
    if len(shape) < 2 or [a.size for a in shape] == [a.size for a in targets]:
        return ""
    wanted = (shape[0], *shape[2:])
    if [a.size for a in wanted] != [a.size for a in targets]:
        place = f"{x} {shape_words(shape)} has its classes on the second axis, {_size(shape[1])}"
        return f"{place}: {y} should be {shape_words(wanted)}, and is {shape_words(targets)}"
    return _beyond(y, held, x, shape[1].size, _size(shape[1]) + " classes")


def _beyond(x: str, held: Mapping[str, tuple[int, int]], y: str, count: int, what: str) -> str:
    """Whole numbers that are no places on an axis."""
    least, largest = held.get(x, (0, 0))
    wrong = largest if largest >= count else least
    return f"{x} has a {wrong} in it, {y} has {what}: 0 to {count - 1}" if not 0 <= wrong < count else ""


def _reshape(op: str, x: str, shape: Shape, numbers: Sequence[object]) -> str:
    asked = [n for n in numbers if isinstance(n, int)]
    known = prod(n for n in asked if n != -1)
    count = prod(axis.size for axis in shape)
    if not asked or not known or asked.count(-1) > 1:
        return ""
    if count % known == 0 if -1 in asked else count == known:
        return f"{x}'s numbers don't lie in memory in that order: reshape copies them, view can't" * (op == "view")
    text = ", ".join(map(str, asked))
    needs = "needs a multiple of" if -1 in asked else "has"
    return f"{x} {shape_words(shape)} has {count} numbers, and ({text}) {needs} {known}"
