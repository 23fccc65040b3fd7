"""Which axes disagree, where torch's own message has numbers only."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, takewhile
from math import prod

from vitcourse.trace.asked import brackets, einops, einsum, unpacked
from vitcourse.trace.fault import Fault, axis_words, has_axes, ordinal, ranks, sized
from vitcourse.trace.record import Shape, shape_words

_ELEMENTWISE = """
    add sub mul truediv div radd rsub rmul rtruediv where lerp eq ne lt le gt ge iadd isub imul idiv maximum minimum
    mse_loss l1_loss smooth_l1_loss huber_loss masked_fill addcmul addcdiv
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
# What is refused for another reason than its shapes, which may not go together either.
_OTHER = re.compile(r"not implemented for|two bool tensors|should not be set|does not appear in the equation")


def explained(fault: Fault) -> str:
    """One sentence on the shapes that don't go together; empty where it is not the shapes, or nothing is known."""
    if not fault.operands or _OTHER.search(fault.message):
        return ""
    op = fault.op.rstrip("_")
    rule = _channels if op.startswith("conv") else _RULES.get(op, _recurrent)
    return _no_such_axis(fault) or _wrong_rank(fault) or _unlike(fault) or rule(fault) or _apart(fault)


# What any function may refuse


def _no_such_axis(fault: Fault) -> str:
    x, shape = fault.operand(0)
    found = re.match(r"Dimension out of range \(.* \[-(\d+), \d+\], but got (-?\d+)\)", fault.message)
    if found and len(shape) == int(found[1]):
        return has_axes(x, shape, f"0 to {len(shape) - 1}: there is no {found[2]}")
    if found and fault.op in ("unsqueeze", "stack"):
        return has_axes(x, shape, f"a new one can be 0 to {len(shape)}: not {found[2]}")
    return ""


def _wrong_rank(fault: Fault) -> str:
    x, shape = fault.operand(0)
    found = re.match(r"expected (\dD(?: or \dD)*) input \(got", fault.message)
    return has_axes(x, shape, f"{fault.takes} takes {found[1].replace('D', '')}") if found else ""


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
    if found or (fault.op.strip("_") in ELEMENTWISE and re.search("broadcast|shape|size", fault.message)):
        for one, two in combinations(fault.operands, 2):
            said = _broadcast(*one, *two, 0)
            if said and (found is None or {*found.groups()} <= {*re.findall(r"\d+", said)}):
                return said
    (x, shape), (_, other) = fault.operand(0), fault.operand(1)
    # What is changed in place keeps its shape.
    spread = re.search(r"doesn't match the broadcast shape \[([\d, ]+)\]", fault.message)
    if spread is None:
        return ""
    for back in range(1, min(len(shape), len(other)) + 1):
        if other[-back].size not in (1, shape[-back].size):
            return (
                f"{axis_words(x, shape, len(shape) - back)}, and {other[-back].size} is asked: it keeps its size here"
            )
    return f"{x} {shape_words(shape)} keeps its shape here, and would become ({spread[1]})"


def _broadcast(x: str, one: Shape, y: str, two: Shape, behind: int) -> str:
    for back in range(1, min(len(one), len(two)) + 1):
        a, b = one[-back], two[-back]
        if a.size != b.size and 1 not in (a.size, b.size):
            first, second = ordinal(len(one) - back, len(one) + behind), ordinal(len(two) - back, len(two) + behind)
            return f"{x}'s {first} axis is {sized(a)}, {y}'s {second} is {sized(b)}, and axes match from the last one"
    return ""


_ASKED = "what is asked has"


def _spread(x: str, shape: Shape, asked: Sequence[int], why: str, whole: str) -> str:
    """An axis that can't be spread to what is asked, or axes for which no place is left."""
    more = shape[: max(len(shape) - len(asked), 0)]
    # What is put in a place may have axes of 1 before the place's own.
    if more and (whole == _ASKED or any(axis.size != 1 for axis in more)):
        return has_axes(x, shape, f"{whole} {len(asked)}")
    for back, size in enumerate(reversed(asked), start=1):
        if back <= len(shape) and shape[-back].size not in (1, size) and size != -1:
            return f"{axis_words(x, shape, len(shape) - back)}, {why.format(size)}"
    return ""


# What takes a certain width


def _ends(fault: Fault, weight: Shape) -> str:
    """The last axes are to be as a weight's."""
    x, shape = fault.operand(0)
    for back in range(1, min(len(shape), len(weight)) + 1):
        if shape[-back].size != weight[-back].size:
            return f"{axis_words(x, shape, len(shape) - back)}, {fault.takes} takes {sized(weight[-back])}"
    return ""


def _recurrent(fault: Fault) -> str:
    """A layer that goes along a sequence, by whatever function of torch; empty for any other."""
    return _ends(fault, next((shape[-1:] for word, shape in fault.operands if "weight_ih" in word), ()))


def _many_heads(fault: Fault) -> str:
    (x, query), (y, key) = fault.operand(0), fault.operand(1)
    _, weight = fault.operand(3)
    # Where keys and values have widths of their own, there are three weights, elsewhere.
    if said := _ends(fault, weight[-1:] if len(weight) == 2 else ()):
        return said
    if len(query) == len(key) == 3 and query[1].size != key[1].size:
        return f"{axis_words(x, query, 1)}, {y}'s is {sized(key[1])}, and that axis is the batch here"
    return ""


def _channels(fault: Fault) -> str:
    (x, shape), (w, weight) = fault.operand(0), fault.operand(1)
    pixels = int(next(iter(re.findall(r"(\d)d$", fault.op)), len(weight) - 2))
    if len(weight) != pixels + 2:
        return has_axes(w, weight, f"{fault.op} takes {pixels + 2}")
    if len(shape) not in (pixels + 1, pixels + 2):
        return has_axes(x, shape, f"{fault.takes} takes {pixels + 1} or {pixels + 2}")
    found = re.search(r"to have (\d+) channels, but got (\d+) channels", fault.message)
    if found is None:
        return _too_small(fault)
    return f"{x} has {sized(shape[-pixels - 1])} channels, {fault.takes} takes {found[1]}"


def _too_small(fault: Fault) -> str:
    """An image, or its rest, on which a kernel doesn't fit even once: the first axis that is to blame."""
    x, shape = fault.operand(0)
    padded = re.search(r"per channel: \(([\d x]+)\)\. Kernel size: \(([\d x]+)\)", fault.message)
    made = re.search(r"output size: \([^x]*x([\dx]+)\)|blocks as \((.*?)\)", fault.message)
    given = next(iter(fault.args[1:]), 0)
    if padded is not None:
        image, kernel = ([*map(int, part.split("x"))] for part in padded.groups())
        wrong = [size < width for size, width in zip(image, kernel, strict=True)]
    elif made is not None and isinstance(given, int | tuple | list):
        wrong = [int(size) < 1 for size in re.findall(r"-?\d+", made[1] or made[2])]
        kernel = [*given] if isinstance(given, tuple | list) else [given] * len(wrong)
    else:
        return ""
    for place, width in enumerate(kernel):
        at = len(shape) - len(kernel) + place
        if wrong[place] and shape[at].size < width:
            return f"{axis_words(x, shape, at)}, and the kernel goes over {width}"
    return ""


def _normalised(fault: Fault) -> str:
    (x, shape), (_, weight) = fault.operand(0), fault.operand(1)
    if len(shape) > 1 and weight and shape[1].size != weight[0].size:
        return f"{x} has {sized(shape[1])} channels, {fault.takes} takes {sized(weight[0])}"
    return ""


# Products


def _product(fault: Fault) -> str:
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if not one or not two:
        return ""
    takes = {"mv": (2, 1), "mm": (2, 2), "bmm": (3, 3), "dot": (1, 1)}.get(fault.op, (len(one), len(two)))
    for (word, shape), count in zip(fault.operands, takes, strict=False):
        if len(shape) != count:
            return has_axes(word, shape, f"{fault.op} takes {count}")
    inner = two[-2] if len(two) > 1 else two[-1]
    if one[-1].size != inner.size:
        place = "last axis but one" if len(two) > 1 else "last axis"
        return f"{x}'s last axis is {sized(one[-1])}, {y}'s {place} is {sized(inner)}: they must be equal"
    return _broadcast(x, one[:-2], y, two[:-2], 2)


def _added_product(fault: Fault) -> str:
    """A product that something is added to."""
    return _product(replace(fault, op=fault.op.removeprefix("add").removeprefix("badd"), operands=fault.operands[1:]))


def _last(fault: Fault) -> str:
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if one and two and one[-1].size != two[-1].size:
        return f"{x}'s last axis is {sized(one[-1])}, {y}'s is {sized(two[-1])}: they must be equal"
    return ""


def _attention(fault: Fault) -> str:
    (x, query), (y, key) = fault.operand(0), fault.operand(1)
    if said := _last(fault):
        return said
    if len(fault.operands) > 3 and len(query) > 1:
        return _broadcast("the score", (*query[:-1], key[-2]), *fault.operand(3), 0)
    return _broadcast(x, query[:-2], y, key[:-2], 2)


# What puts together, cuts, and lays out anew


def _put_together(fault: Fault) -> str:
    stacked = fault.op == "stack"
    # Nothing, of one axis, goes with everything.
    (x, one), *others = [o for o in fault.operands if stacked or [axis.size for axis in o[1]] != [0]]
    dim = {"hstack": min(len(one), 2) - 1, "vstack": 0}.get(fault.op, next(iter(fault.numbers), 0)) % max(len(one), 1)
    for y, two in others:
        if len(one) != len(two):
            return ranks(x, one, y, two)
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            if a.size != b.size and (stacked or place != dim):
                along = "" if stacked else f", and only the {ordinal(dim, len(one))} may differ"
                return f"{axis_words(x, one, place)}, {y}'s is {sized(b)}{along}"
    return ""


def _expanded(fault: Fault) -> str:
    x, shape = fault.operand(0)
    asked = fault.numbers or [axis.size for axis in fault.operand(1)[1]]
    return _spread(x, shape, asked, "and {} is asked: it keeps its size here", _ASKED)


def _ordered(fault: Fault) -> str:
    x, shape = fault.operand(0)
    named = len(fault.numbers)
    return has_axes(x, shape, f"and {named} are named") if named != len(shape) else ""


def _reshape(fault: Fault) -> str:
    x, shape = fault.operand(0)
    # view_as takes the axes of another tensor.
    asked = fault.numbers or [axis.size for axis in fault.operand(1)[1]]
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
    return f"{axis_words(x, shape, place)}, {_needed(asked) if len(asked) > 1 else f'and {asked[0]} is asked'}"


def _needed(asked: Sequence[int]) -> str:
    multiple = "a multiple of " if -1 in asked else ""
    return f"({', '.join(map(str, asked))}) needs {multiple}{prod(n for n in asked if n != -1)}"


def _unflattened(fault: Fault) -> str:
    x, shape = fault.operand(0)
    dim, *asked = fault.numbers
    return _cut(x, shape, dim % len(shape), asked) if "multiply up" in fault.message else ""


def _parts(fault: Fault) -> str:
    """What is cut into parts of given sizes."""
    x, shape = fault.operand(0)
    sizes, dim = ([*fault.args[1:], 0])[:2]
    if not isinstance(sizes, tuple | list) or not shape:
        return ""
    wrong = sum(sizes) != shape[dim].size
    return (
        f"{axis_words(x, shape, dim % len(shape))}, the parts {tuple(sizes)} are {sum(sizes)} together" if wrong else ""
    )


# Places in a tensor


def _rows(fault: Fault) -> str:
    (x, _), (_, table) = fault.operand(0), fault.operand(1)
    kind = fault.kinds.get(x, ("int", ""))[0]
    if "int" not in kind:
        return f"{x} is {kind}: the rows of a table are named by whole numbers, int64"
    return _beyond(fault, fault.operand(0)[0], fault.takes, table[0].size, sized(table[0]) + " rows") if table else ""


def _beyond(fault: Fault, x: str, y: str, count: int, what: str) -> str:
    """Whole numbers that are no places on an axis."""
    least, largest = fault.held.get(x, (0, 0))
    wrong = largest if largest >= count else least
    return f"{x} contains {wrong}, {y} has {what}: 0 to {count - 1}" if not 0 <= wrong < count else ""


def _picked(fault: Fault) -> str:
    """Numbers along one axis, with as many axes as what they are picked from."""
    (x, one), (y, two) = fault.operand(0), fault.operand(1)
    if two and len(one) != len(two) and fault.op != "index_select":
        return ranks(x, one, y, two) + ": both need the same number"
    if not fault.numbers or not one or not two:
        return ""
    dim = fault.numbers[0] % len(one)
    for place, (a, b) in enumerate(zip(one, two, strict=False)):
        if place != dim and a.size < b.size and fault.op != "index_select":
            return f"{axis_words(x, one, place)}, {y}'s is {sized(b)}: along this axis it may not be larger"
    return _beyond(fault, y, axis_words(x, one, dim).partition(" is ")[0], one[dim].size, sized(one[dim]))


def _classes(fault: Fault) -> str:
    """Whole numbers as rows of noughts with a one."""
    count = next(iter(fault.numbers), 0)
    return _beyond(fault, fault.operand(0)[0], fault.op, count, f"{count} classes")


def _assigned(fault: Fault) -> str:
    y, two = fault.operand(-1)
    found = re.search(r"(?:Target sizes:|indexing result of shape|, size=) ?=?\[([\d, ]*)\]", fault.message)
    if found is None or len(fault.operands) < 2:
        return brackets(fault)
    return _spread(y, two, [int(size) for size in re.findall(r"\d+", found[1])], "its place takes {}", "its place has")


# Losses


def _targets(fault: Fault) -> str:
    """The classes are on the second axis of what is compared with targets."""
    (x, shape), (y, targets) = fault.operand(0), fault.operand(1)
    if not targets or len(shape) < 2:
        return ""
    if "float" in fault.kinds.get(y, ("",))[0]:
        # Probabilities, and no classes.
        return _one_shape(fault)
    if shape[0].size != targets[0].size:
        return f"{x} has {sized(shape[0])} rows, {y} {sized(targets[0])}"
    if [a.size for a in shape] == [a.size for a in targets]:
        return ""
    wanted = (shape[0], *shape[2:])
    if [a.size for a in wanted] != [a.size for a in targets]:
        place = f"{x} {shape_words(shape)} has its classes on the second axis, {sized(shape[1])}"
        return f"{place}: {y} should be {shape_words(wanted)}, and is {shape_words(targets)}"
    return _beyond(fault, y, x, shape[1].size, sized(shape[1]) + " classes")


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
    "getitem": brackets,
    "setitem": _assigned,
    "einsum": einsum,
    "einops": einops,
    "unpack": unpacked,
    "cdist": _last,
    **dict.fromkeys(("split", "split_with_sizes"), _parts),
    "one_hot": _classes,
    "unfold": _too_small,
    **dict.fromkeys(("layer_norm", "rms_norm"), lambda fault: _ends(fault, fault.operand(1)[1])),
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), _normalised),
    **dict.fromkeys(("matmul", "mm", "bmm", "dot", "mv"), _product),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _added_product),
    **dict.fromkeys(("cat", "concat", "hstack", "vstack"), _put_together),
    **dict.fromkeys(("view", "reshape", "view_as", "reshape_as"), _reshape),
    **dict.fromkeys(("expand", "broadcast_to", "expand_as"), _expanded),
    **dict.fromkeys(("gather", "scatter", "scatter_add", "take_along_dim", "index_select", "scatter_reduce"), _picked),
    **dict.fromkeys((f"{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)), _too_small),
    **dict.fromkeys(("cross_entropy", "nll_loss"), _targets),
    **dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_logits"), _one_shape),
}
