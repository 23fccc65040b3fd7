"""Which axes disagree, where torch's own message has numbers only."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, takewhile
from math import prod

from vitcourse.trace.record import Axis, Shape, shape_words

_ELEMENTWISE = """
    add sub mul truediv div radd rsub rmul rtruediv where lerp eq ne lt le gt ge iadd isub imul idiv maximum minimum
    mse_loss l1_loss smooth_l1_loss huber_loss masked_fill addcmul addcdiv
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
_NOTHING: tuple[str, Shape] = ("", ())


@dataclass(frozen=True)
class Fault:
    """What torch refused: a function, its tensors by name, its whole numbers, and torch's message.

    `module` is whose call it was, where a module of torch's made it; `held` has the least and the largest number in
    each tensor of whole numbers, `kinds` each tensor's dtype and device.
    """

    op: str
    operands: Sequence[tuple[str, Shape]]
    message: str
    module: str = ""
    numbers: Sequence[int] = ()
    held: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def operand(self, place: int) -> tuple[str, Shape]:
        """A tensor's name and its axes; of one that isn't there, no name and no axes."""
        return self.operands[place] if place < len(self.operands) else _NOTHING

    @property
    def takes(self) -> str:
        """What it is that takes other sizes."""
        return self.module or self.operand(1)[0]


def explained(fault: Fault) -> str:
    """One sentence on the shapes that don't go together; empty where it is not the shapes, or nothing is known."""
    if not fault.operands:
        return ""
    op = fault.op.rstrip("_")
    rule = _channels if op.startswith("conv") else _RULES.get(op, _recurrent)
    return _no_such_axis(fault) or _wrong_rank(fault) or _unlike(fault) or rule(fault) or _apart(fault)


def _size(axis: Axis) -> str:
    return str(axis.size) if axis.name is None else f"{axis.size} = {axis.name}"


def ordinal(place: int, count: int) -> str:
    """Which of so many axes it is, in a word."""
    names = ("first", "second", "third", "fourth", "fifth")
    return "last" if place == count - 1 and count > 1 else names[place] if place < len(names) else f"{place + 1}th"


def _axis(x: str, shape: Shape, place: int) -> str:
    return f"{x}'s {ordinal(place, len(shape))} axis is {_size(shape[place])}"


# What any function may refuse


def _no_such_axis(fault: Fault) -> str:
    x, shape = fault.operand(0)
    found = re.match(r"Dimension out of range \(.* \[-(\d+), \d+\], but got (-?\d+)\)", fault.message)
    if found and len(shape) == int(found[1]):
        return f"{x} has {len(shape)} axes {shape_words(shape)}, 0 to {len(shape) - 1}: there is no {found[2]}"
    return ""


def _wrong_rank(fault: Fault) -> str:
    x, shape = fault.operand(0)
    found = re.match(r"expected (\dD(?: or \dD)*) input \(got", fault.message)
    return (
        f"{x} has {len(shape)} axes {shape_words(shape)}, {fault.takes} takes {found[1].replace('D', '')}"
        if found
        else ""
    )


def _unlike(fault: Fault) -> str:
    """Two tensors that should have one dtype, or be on one device."""
    alike = re.search(r"same dtype|type .* should be the same", fault.message)
    asked = 1 if "device" in fault.message else 0 if alike else None
    if asked is not None:
        for (x, one), (y, two) in combinations(fault.kinds.items(), 2):
            if one[asked] != two[asked]:
                return f"{x} is {'on ' * asked}{one[asked]}, {y} {'on ' * asked}{two[asked]}: they must be alike"
    return ""


def _apart(fault: Fault) -> str:
    """Two tensors that can't be spread to one shape."""
    found = re.search(r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", fault.message)
    if found or fault.op.strip("_") in ELEMENTWISE:
        for one, two in combinations(fault.operands, 2):
            said = _broadcast(*one, *two, 0)
            if said and (found is None or {*found.groups()} <= {*re.findall(r"\d+", said)}):
                return said
    (x, shape), (_, other) = fault.operand(0), fault.operand(1)
    # What is changed in place keeps its shape.
    return _expand(x, shape, [axis.size for axis in other]) if fault.op.endswith("_") else ""


def _broadcast(x: str, one: Shape, y: str, two: Shape, behind: int) -> str:
    for back in range(1, min(len(one), len(two)) + 1):
        a, b = one[-back], two[-back]
        if a.size != b.size and 1 not in (a.size, b.size):
            first, second = ordinal(len(one) - back, len(one) + behind), ordinal(len(two) - back, len(two) + behind)
            return f"{x}'s {first} axis is {_size(a)}, {y}'s {second} is {_size(b)}, and axes match from the last one"
    return ""


def _expand(x: str, shape: Shape, asked: Sequence[int], why: str = "and {} is asked: it keeps its size here") -> str:
    for back, size in enumerate(reversed(asked), start=1):
        if back <= len(shape) and size not in (-1, 1, shape[-back].size):
            return f"{_axis(x, shape, len(shape) - back)}, {why.format(size)}"
    return ""


# What takes a certain width


def _ends(fault: Fault, weight: Shape) -> str:
    """The last axes are to be as a weight's."""
    x, shape = fault.operand(0)
    for back in range(1, min(len(shape), len(weight)) + 1):
        if shape[-back].size != weight[-back].size:
            return f"{_axis(x, shape, len(shape) - back)}, {fault.takes} takes {_size(weight[-back])}"
    return ""


def _recurrent(fault: Fault) -> str:
    """A layer that goes along a sequence, by whatever function of torch; empty for any other."""
    return _ends(fault, next((shape[-1:] for word, shape in fault.operands if "weight_ih" in word), ()))


def _many_heads(fault: Fault) -> str:
    (x, query), (y, key) = fault.operand(0), fault.operand(1)
    if said := _ends(fault, fault.operand(3)[1][-1:]):
        return said
    if len(query) == len(key) == 3 and query[1].size != key[1].size:
        return f"{_axis(x, query, 1)}, {y}'s is {_size(key[1])}, and that axis is the batch here"
    return ""


def _channels(fault: Fault) -> str:
    x, shape = fault.operand(0)
    wanted = len(fault.operand(1)[1]) - 1
    if wanted > 1 and len(shape) not in (wanted, wanted + 1):
        return f"{x} has {len(shape)} axes {shape_words(shape)}, {fault.takes} takes {wanted + 1}"
    found = re.search(r"to have (\d+) channels, but got (\d+) channels", fault.message)
    return f"{x} has {_size(shape[-wanted])} channels, {fault.takes} takes {found[1]}" if found else ""


def _normalised(fault: Fault) -> str:
    (x, shape), (_, weight) = fault.operand(0), fault.operand(1)
    if len(shape) > 1 and weight and shape[1].size != weight[0].size:
        return f"{x} has {_size(shape[1])} channels, {fault.takes} takes {_size(weight[0])}"
    return ""


# Products


def _product(fault: Fault) -> str:
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if not one or not two:
        return ""
    inner = two[-2] if len(two) > 1 else two[-1]
    if one[-1].size != inner.size:
        place = "last axis but one" if len(two) > 1 else "last axis"
        return f"{x}'s last axis is {_size(one[-1])}, {y}'s {place} is {_size(inner)}: they must be equal"
    return _broadcast(x, one[:-2], y, two[:-2], 2)


def _attention(fault: Fault) -> str:
    (x, query), (y, key) = fault.operand(0), fault.operand(1)
    if query and key and query[-1].size != key[-1].size:
        return f"{x}'s last axis is {_size(query[-1])}, {y}'s is {_size(key[-1])}: they must be equal"
    if len(fault.operands) > 3 and len(query) > 1:
        return _broadcast("the score", (*query[:-1], key[-2]), *fault.operand(3), 0)
    return ""


# What puts together, cuts, and lays out anew


def _put_together(fault: Fault) -> str:
    (x, one), *others = fault.operands
    stacked = fault.op == "stack"
    dim = next(iter(fault.numbers), 0) % max(len(one), 1)
    for y, two in others:
        if len(one) != len(two):
            return _ranks(x, one, y, two)
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            if a.size != b.size and (stacked or place != dim):
                along = "" if stacked else f", and only the {ordinal(dim, len(one))} may differ"
                return f"{_axis(x, one, place)}, {y}'s is {_size(b)}{along}"
    return ""


def _ranks(x: str, one: Shape, y: str, two: Shape) -> str:
    return f"{x} has {len(one)} axes {shape_words(one)}, {y} {len(two)} {shape_words(two)}"


def _expanded(fault: Fault) -> str:
    x, shape = fault.operand(0)
    return _expand(x, shape, fault.numbers)


def _ordered(fault: Fault) -> str:
    x, shape = fault.operand(0)
    named = len(fault.numbers)
    return f"{x} has {len(shape)} axes {shape_words(shape)}, and {named} are named" if named != len(shape) else ""


def _reshape(fault: Fault) -> str:
    x, shape = fault.operand(0)
    asked = fault.numbers
    known = prod(n for n in asked if n != -1)
    count = prod(axis.size for axis in shape)
    if not asked or not known or asked.count(-1) > 1:
        return ""
    if count % known == 0 if -1 in asked else count == known:
        lying = f"{x}'s numbers don't lie in memory in that order: reshape copies them, view can't"
        return lying if fault.op == "view" else ""
    # Axes that stay as they are at both ends agree.
    first = _alike(shape, asked)
    behind = _alike(shape[:first:-1], asked[:first:-1])
    if len(shape) - first - behind == 1:
        return _cut(x, shape, first, asked[first : len(asked) - behind])
    return f"{x} {shape_words(shape)} has {count} numbers, {_needed(asked)}"


def _alike(shape: Shape, asked: Sequence[int]) -> int:
    pairs = zip(shape, asked, strict=False)
    return len([*takewhile(lambda pair: pair[0].size == pair[1], pairs)])


def _cut(x: str, shape: Shape, place: int, asked: Sequence[int]) -> str:
    return f"{_axis(x, shape, place)}, {_needed(asked) if len(asked) > 1 else f'and {asked[0]} is asked'}"


def _needed(asked: Sequence[int]) -> str:
    multiple = "a multiple of " if -1 in asked else ""
    return f"({', '.join(map(str, asked))}) needs {multiple}{prod(n for n in asked if n != -1)}"


def _unflattened(fault: Fault) -> str:
    x, shape = fault.operand(0)
    dim, *asked = fault.numbers
    return _cut(x, shape, dim % len(shape), asked) if "multiply up" in fault.message else ""


# Places in a tensor


def _rows(fault: Fault) -> str:
    _, table = fault.operand(1)
    return _beyond(fault, fault.operand(0)[0], fault.takes, table[0].size, _size(table[0]) + " rows") if table else ""


def _beyond(fault: Fault, x: str, y: str, count: int, what: str) -> str:
    """Whole numbers that are no places on an axis."""
    least, largest = fault.held.get(x, (0, 0))
    wrong = largest if largest >= count else least
    return f"{x} has a {wrong} in it, {y} has {what}: 0 to {count - 1}" if not 0 <= wrong < count else ""


def _picked(fault: Fault) -> str:
    """Numbers along one axis, with as many axes as what they are picked from."""
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    return _ranks(x, one, y, two) + ": both need the same number" if two and len(one) != len(two) else ""


def _masked(fault: Fault) -> str:
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if "shape of the mask" in fault.message and len(fault.operands) == 2:
        for place, (a, b) in enumerate(zip(one, two, strict=False)):
            if a.size != b.size:
                return f"{_axis(x, one, place)}, {y}'s is {_size(b)}: a mask has the axes that it chooses from"
    return ""


def _assigned(fault: Fault) -> str:
    y, two = fault.operand(-1)
    found = re.search(r"Target sizes: \[([\d, ]+)\]", fault.message)
    if found is None or len(fault.operands) < 2:
        return ""
    return _expand(y, two, [int(size) for size in found[1].split(",")], "its place takes {}")


# Losses


def _targets(fault: Fault) -> str:
    """The classes are on the second axis of what is compared with targets."""
    (x, shape), (y, targets) = fault.operand(0), fault.operand(1)
    if not shape or not targets:
        return ""
    if shape[0].size != targets[0].size:
        return f"{x} has {_size(shape[0])} rows, {y} {_size(targets[0])}"
    if len(shape) < 2 or [a.size for a in shape] == [a.size for a in targets]:
        return ""
    wanted = (shape[0], *shape[2:])
    if [a.size for a in wanted] != [a.size for a in targets]:
        place = f"{x} {shape_words(shape)} has its classes on the second axis, {_size(shape[1])}"
        return f"{place}: {y} should be {shape_words(wanted)}, and is {shape_words(targets)}"
    return _beyond(fault, y, x, shape[1].size, _size(shape[1]) + " classes")


def _one_shape(fault: Fault) -> str:
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if [a.size for a in one] != [a.size for a in two]:
        return f"{x} is {shape_words(one)}, {y} {shape_words(two)}: they must have one shape"
    return ""


Rule = Callable[[Fault], str]
_RULES: dict[str, Rule] = {
    "linear": lambda fault: _ends(fault, fault.operand(1)[1][-1:]),
    "embedding": _rows,
    "multi_head_attention_forward": _many_heads,
    "scaled_dot_product_attention": _attention,
    "stack": _put_together,
    "unflatten": _unflattened,
    "permute": _ordered,
    "getitem": _masked,
    "setitem": _assigned,
    **dict.fromkeys(("layer_norm", "rms_norm"), lambda fault: _ends(fault, fault.operand(1)[1])),
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), _normalised),
    **dict.fromkeys(("matmul", "mm", "bmm", "dot", "mv"), _product),
    **dict.fromkeys(("cat", "concat"), _put_together),
    **dict.fromkeys(("view", "reshape"), _reshape),
    **dict.fromkeys(("expand", "broadcast_to"), _expanded),
    **dict.fromkeys(("gather", "scatter", "scatter_add", "take_along_dim"), _picked),
    **dict.fromkeys(("cross_entropy", "nll_loss"), _targets),
    **dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_logits"), _one_shape),
}
