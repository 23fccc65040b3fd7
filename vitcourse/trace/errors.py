"""Which axes disagree, where torch's own message has numbers only."""

from collections.abc import Sequence
from math import prod

from vitcourse.trace.record import Axis, Shape, shape_words

_ELEMENTWISE = """
    add sub mul truediv div radd rsub rmul rtruediv where lerp eq ne lt le gt ge iadd isub imul idiv maximum minimum
    mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy_with_logits
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
Operands = Sequence[tuple[str, Shape]]


def explained(op: str, operands: Operands, module: str, numbers: Sequence[object]) -> str:
    """One sentence on the shapes that don't go together; empty where it is not the shapes, or nothing is known."""
    if not operands:
        return ""
    (x, shape), *others = operands
    other, second = others[0] if others else ("", ())
    takes = module or other
    recurrent = next((weight for word, weight in others if "weight_ih" in word), ())
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
    if op in ("view", "reshape", "unflatten") and op != "unflatten":
        return _reshape(x, shape, numbers)
    if op in ("cross_entropy", "nll_loss") and shape and second and shape[0].size != second[0].size:
        return f"{x} has {_size(shape[0])} rows, {other} {_size(second[0])}"
    if op in ("batch_norm", "instance_norm") and len(shape) > 1 and second and shape[1].size != second[0].size:
        return f"{x} has {_size(shape[1])} channels, {takes} takes {_size(second[0])}"
    if op in ELEMENTWISE and others:
        return _broadcast(x, shape, other, second, 0)
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


def _reshape(x: str, shape: Shape, numbers: Sequence[object]) -> str:
    asked = [n for n in numbers if isinstance(n, int)]
    known = prod(n for n in asked if n != -1)
    count = prod(axis.size for axis in shape)
    if not asked or not known or (count % known == 0 if -1 in asked else count == known):
        return ""
    text = ", ".join(map(str, asked))
    needs = "needs a multiple of" if -1 in asked else "has"
    return f"{x} {shape_words(shape)} has {count} numbers, and ({text}) {needs} {known}"
