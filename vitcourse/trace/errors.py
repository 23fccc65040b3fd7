"""Which axes disagree, where torch's own message has numbers only."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, takewhile
from math import prod
from typing import Any

from vitcourse.trace.agreed import agreed, apart, brackets, einops, einsum, taken_apart
from vitcourse.trace.fault import Fault, axis_words, has_axes, ordinal, ranks, sized, sizes
from vitcourse.trace.record import Shape, shape_words

Rule = Callable[[Fault], str]
# What is refused for another reason than its shapes, which may not go together either.
_OTHER = re.compile("not implemented for|dtype|two bool tensors|should not be set|does not appear in the equation")
# What modules that are looked into before any function is called ask of what they are given, and of their numbers.
_GIVEN = {
    "RNNBase": {
        "input": "{t} input_size", "input.data": "n input_size",
        "hx": "{layers} (b) {out}", "hx[1]": "{layers} (b) hidden_size",
    },
    "RNNCellBase": {"input": "(b) input_size", "hx": "(b) hidden_size"},
    "MultiheadAttention": {
        "query": "{t} embed_dim", "key": "{s} kdim", "value": "{s} vdim",
        "key_padding_mask": "(b) s", "attn_mask": "(b·num_heads) t s",
    },
    "Transformer": {"src": "{s} d_model", "tgt": "{t} d_model"},
}  # fmt: skip
# What a message says of how many axes are taken.
_RANK = re.compile(
    r"(?:[Ee]xpected (?:input to be )?|needs |Only |tensor with )"
    r"(<= \d|\dD(?:(?:, | or | and )\dD)*)(?: input|, got| dimensions)"
)
# What a message says of dtypes: from which tensor on, what they may not be, and why.
_KINDS = (
    (r"boolean tensor", 0, "int|float", "a mask is of true and false, bool"),
    (r"boolean mask", 1, "int|float", "a mask is of true and false, bool"),
    (r"scalar types: Long|LongTensor|'weight' must be 2-D", 0, "float|bool", "rows are named by whole numbers, int64"),
    (r"indices must be long|int32(?:/| or )int64", 1, "float|bool", "places are whole numbers, int64"),
    (r"target dtype to be Long|scalar type Long but found", 1, "float|bool", "classes are whole numbers, int64"),
    (
        r"floating point.*[Gg]ot\b|(for '|dtype |found )(Long|Int|Short|Char|Byte|Bool)\b",
        0,
        "int|bool",
        "float32 is asked",
    ),
)


def explained(fault: Fault) -> str:
    """One sentence on the shapes that don't go together; empty where it is not the shapes, or nothing is known."""
    rules: list[Rule] = [_no_such_axis, _wrong_rank, _unlike, _kind]
    if not _OTHER.search(fault.message):
        rules += [_layer] if fault.roles else [_function, taken_apart, _apart]
    return next(filter(None, (rule(fault) for rule in rules)), "")


def _function(fault: Fault) -> str:
    """What is known of a function: a few words for its axes, or a rule."""
    asks = _ASKS.get(fault.op.rstrip("_"), "")
    return agreed(fault, asks.split(", ")) if isinstance(asks, str) else asks(fault)


def asked_of(layer: Any) -> dict[str, str]:
    """What a module of torch's own asks of what it is given, by the names of its forward, if that is known."""
    kinds = type(layer).__mro__ if type(layer).__module__.startswith("torch.") else ()
    return next((_GIVEN[kind.__name__] for kind in kinds if kind.__name__ in _GIVEN), {})


def _layer(fault: Fault) -> str:
    """A module whose call was looked into: its numbers, and the axes of what it was given."""
    layer: Any = fault.layer
    asks = asked_of(layer)
    first = getattr(layer, "batch_first", True)
    words = {
        "t": "(b) t" if first else "t (b)",
        "s": "(b) s" if first else "s (b)",
        "out": "proj_size" if getattr(layer, "proj_size", 0) else "hidden_size",
        "layers": "2·num_layers" if getattr(layer, "bidirectional", False) else "num_layers",
    }
    terms = [asks.get(role, asks.get(role.partition("[")[0], "")).format(**words) for role in fault.roles]
    return agreed(fault, terms, {word: size for word, size in vars(layer).items() if type(size) is int})


# What any function may refuse


def _no_such_axis(fault: Fault) -> str:
    x, shape = fault.operand(0)
    found = re.match(r"Dimension out of range \(.* \[-\d+, (\d+)\], but got (-?\d+)\)", fault.message)
    new = fault.op in ("unsqueeze", "stack")
    if found is None or int(found[1]) != len(shape) - (not new):
        return ""
    return has_axes(x, shape, f"{'a new one can be ' if new else ''}0 to {found[1]}: there is no {found[2]}")


def _wrong_rank(fault: Fault) -> str:
    found = _RANK.search(fault.message)
    asked = found[1].replace("D", "").replace("<=", "at most").replace("and", "or") if found else ""
    fits = not asked or str(len(fault.operand(0)[1])) in asked
    return "" if fits else has_axes(*fault.operand(0), f"{fault.takes} takes {asked}")


def _unlike(fault: Fault) -> str:
    """Two tensors that should have one dtype, or be on one device."""
    alike = re.search(r"same dtype|type .* should be the same", fault.message)
    asked, on = ("device", "on ") if "device" in fault.message else ("dtype" if alike else "", "")
    kinds = [(x, str(getattr(t, asked)).removeprefix("torch.")) for x, t in fault.tensors.items() if asked]
    for (x, one), (y, two) in combinations(kinds, 2):
        if one != two:
            return f"{x} is {on}{one}, {y} {on}{two}: they must be alike"
    return ""


def _kind(fault: Fault) -> str:
    """A tensor of a dtype that isn't taken."""
    for said, start, wrong, why in _KINDS:
        for x, _ in fault.operands[start:]:
            if re.search(said, fault.message) and re.search(wrong, kind := str(fault.tensors[x].dtype)[6:]):
                return f"{x} is {kind}: {why}"
    return ""


def _apart(fault: Fault) -> str:
    """Two tensors that can't be spread to one shape; what is changed in place keeps its own."""
    x, shape = fault.operand(0)
    if "doesn't match the broadcast shape" in fault.message:
        return _into(fault, 1, sizes(shape), f"{x} keeps its shape and")
    return apart(fault, fault.operands) if re.search("size of tensor a|broadcast", fault.message) else ""


def _into(fault: Fault, place: int, asked: Sequence[int], takes: str) -> str:
    """A tensor that can't be spread to given sizes."""
    words = " ".join("_" if size == -1 else str(size) for size in asked)
    return agreed(replace(fault, operands=[fault.operand(place)], module=takes), [f"~{words}"])


# What takes a certain width


def _normed(fault: Fault) -> str:
    """The last axes are to be those that are named."""
    sizes = " ".join(map(str, next(arg for arg in fault.args if isinstance(arg, tuple | list))))
    return agreed(fault, [f"... {sizes}", sizes, sizes])


def _channels(fault: Fault) -> str:
    spots = " _" * int(fault.op[-2])
    channels = re.search(r"to have (\d+) channels, but got", fault.message)
    bias = re.search(r"expected bias to be 1-dimensional with (\d+) elements", fault.message)
    asked = f"(b) {channels[1] if channels else '_'}{spots}", f"_ _{spots}", bias[1] if bias else ""
    return agreed(fault, asked) or _too_small(fault)


def _too_small(fault: Fault) -> str:
    """An image, or its rest, on which a kernel doesn't fit even once: the first axis that is to blame."""
    (x, shape), given = fault.operand(0), next(iter(fault.args[1:]), 0)
    padded = re.search(r"per channel: \((.*?)\)\. Kernel size: \((.*?)\)", fault.message)
    made = padded or re.search(r"output size: \([^x]*x([\dx]+)\)|blocks as \((.*?)\)", fault.message)
    if made is None:
        return ""
    left = [int(size) for size in re.findall(r"-?\d+", made[1] or made[2])]
    widths = given if isinstance(given, tuple | list) else [given] * len(left)
    widths = [int(width) for width in padded[2].split("x")] if padded is not None else widths
    for at, (size, width) in enumerate(zip(left, widths, strict=True), start=len(shape) - len(left)):
        if size < (width if padded else 1) and shape[at].size < width:
            return f"{axis_words(x, shape, at)}, and the kernel goes over {width}"
    return ""


# What puts together, cuts, and lays out anew


def _put_together(fault: Fault) -> str:
    """Tensors that have the same axes, all or but one."""
    # Nothing, of one axis, goes with everything.
    kept = [o for o in fault.operands if fault.op == "stack" or sizes(o[1]) != [0]]
    x, shape = kept[0]
    for y, other in kept:
        if len(other) != len(shape):
            return ranks(x, shape, y, other)
    count, first = len(shape), next(iter(fault.numbers), 0)
    dim = {"stack": count, "hstack": min(count, 2) - 1, "vstack": 0}.get(fault.op, first % max(count, 1))
    words = " ".join("_" if place == dim else f"axis{place}" for place in range(count))
    why = f"only the {ordinal(dim, count)} may differ" if dim < count else ""
    return agreed(replace(fault, operands=kept), [words] * len(kept), why=why)


def _reshape(fault: Fault) -> str:
    (x, shape), (_, other) = fault.operand(0), fault.operand(1)
    # view_as takes the axes of another tensor.
    asked = fault.numbers or sizes(other)
    if fault.op == "unflatten":
        dim, *parts = asked
        asked = [*sizes(shape[:dim]), *parts, *sizes(shape[dim:][1:])]
    known, count = prod(n for n in asked if n != -1), prod(sizes(shape))
    if not asked or not known or asked.count(-1) > 1:
        return ""
    if count % known == 0 if -1 in asked else count == known:
        lying = f"{x}'s numbers don't lie in memory in that order: reshape copies them, view can't"
        return lying if fault.op == "view" else ""
    # Axes that stay as they are at both ends agree.
    first = _alike(shape, asked)
    behind = _alike(shape[:first:-1], asked[:first:-1])
    left = asked[first : len(asked) - behind] if len(shape) - first - behind == 1 else asked
    needed = f"({', '.join(map(str, left))}) needs {'a multiple of ' * (-1 in left)}{prod(n for n in left if n != -1)}"
    if left is asked and len(shape) > 1:
        return f"{x} {shape_words(shape)} has {count} numbers, {needed}"
    return f"{axis_words(x, shape, first)}, {needed if len(left) > 1 else f'and {left[0]} is asked'}"


def _alike(shape: Shape, asked: Sequence[int]) -> int:
    pairs = zip(shape, asked, strict=False)
    return len([*takewhile(lambda pair: pair[0].size == pair[1], pairs)])


def _too_many(fault: Fault) -> str:
    """More places along an axis than it has."""
    (x, shape), (count, *more) = fault.operand(0), fault.numbers
    dim = next(iter(more), -1) % len(shape)
    return f"{axis_words(x, shape, dim)}, and {count} are asked" if count > shape[dim].size else ""


def _resized(fault: Fault) -> str:
    """Sizes for another number of axes than an image has."""
    asked = re.search(r"and (?:output size of|scale_factor of shape) ([(\[].*?[)\]])", fault.message)
    count = 2 + len(re.findall(r"[\d.]+", asked[1] if asked else ""))
    return has_axes(*fault.operand(0), f"{asked[1]} is for {count}") if asked else ""


def _parts(fault: Fault) -> str:
    """What is cut into parts of given sizes."""
    x, shape = fault.operand(0)
    parts, dim = ([*fault.args[1:], 0])[:2]
    if not isinstance(parts, tuple | list) or not shape or sum(parts) == shape[dim].size:
        return ""
    return f"{axis_words(x, shape, dim % len(shape))}, the parts {tuple(parts)} are {sum(parts)} together"


# Places in a tensor


def _rows(fault: Fault) -> str:
    """Whole numbers that name the rows of a table, or as many classes as are asked for."""
    (x, _), (y, table) = fault.operand(0), fault.operand(1)
    if table:
        return _beyond(fault, x, fault.module or y, table[0].size, sized(table[0]) + " rows")
    count = next(iter(fault.numbers), 0)
    return _beyond(fault, x, fault.op, count, f"{count} classes")


def _beyond(fault: Fault, x: str, y: str, count: int, what: str) -> str:
    """Whole numbers that are no places on an axis."""
    least, largest = int(fault.tensors[x].min()), int(fault.tensors[x].max())
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


def _assigned(fault: Fault) -> str:
    place, (_, shape) = len(fault.operands) - 1, fault.operand(-1)
    found = re.search(r"(?:Target sizes:|indexing result of shape|, size=) ?=?\[([\d, ]*)\]", fault.message)
    if found is None or not place:
        return brackets(fault)
    asked = [int(size) for size in re.findall(r"\d+", found[1])]
    # Before a place's own axes there may be others of 1.
    ones = [*takewhile(lambda axis: axis.size == 1, shape[: max(len(shape) - len(asked), 0)])]
    return _into(fault, place, [1] * len(ones) + asked, "its place")


# Losses


def _targets(fault: Fault) -> str:
    """The classes are on the second axis of what is compared with targets."""
    (x, shape), (y, targets) = fault.operand(0), fault.operand(1)
    if "weight tensor should be" in fault.message:
        return agreed(fault, ["_ k ..." if len(shape) > 1 else "k", "", "k"])
    if fault.op.startswith("binary") or fault.tensors[y].is_floating_point():
        # Probabilities, and no classes.
        one = f"{x} is {shape_words(shape)}, {y} {shape_words(targets)}: they must have one shape"
        return one if sizes(shape) != sizes(targets) else ""
    if not targets or len(shape) < 2:
        return ""
    if shape[0].size != targets[0].size:
        return f"{x} has {sized(shape[0])} rows, {y} {sized(targets[0])}"
    wanted = (shape[0], *shape[2:])
    if sizes(wanted) != sizes(targets):
        place = f"{x} {shape_words(shape)} has its classes on the second axis, {sized(shape[1])}"
        return f"{place}: {y} should be {shape_words(wanted)}, and is {shape_words(targets)}"
    return _beyond(fault, y, x, shape[1].size, sized(shape[1]) + " classes")


# What functions ask of the axes of their tensors: words for them in turn, see `agreed`, or a rule.
_ASKS: dict[str, str | Rule] = {
    op: asks
    for ops, asks in (
        ("linear", "... i, (o) i, ~o"),
        ("bilinear", "... i, ... j, o i j, ~o"),
        ("matmul", "... (n) m, ... m (p)"),
        ("mm", "n m, m p"),
        ("bmm", "b n m, b m p"),
        ("mv", "n m, m"),
        ("dot", "n, n"),
        ("addmm", "~n p, n m, m p"),
        ("addmv", "~n, n m, m"),
        ("baddbmm", "~b n p, b n m, b m p"),
        ("cdist", "... n d, ... m d"),
        ("scaled_dot_product_attention", "... t e, ... s e, ... s v, ~... t s"),
        ("batch_norm instance_norm group_norm", "b c ..., c, c, c, c"),
        ("prelu", "b c ..., ~c"),
        ("layer_norm rms_norm", _normed),
        ("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d", _channels),
        ("max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d unfold", _too_small),
        ("interpolate", _resized),
        ("permute", lambda f: agreed(f, ["_ " * len(f.numbers)], who="permute names")),
        ("view reshape view_as reshape_as unflatten", _reshape),
        ("expand broadcast_to expand_as", lambda f: _into(f, 0, f.numbers or sizes(f.operand(1)[1]), f.op)),
        ("stack cat concat hstack vstack", _put_together),
        ("split split_with_sizes", _parts),
        ("topk", _too_many),
        ("embedding one_hot", _rows),
        ("gather scatter scatter_add take_along_dim index_select scatter_reduce", _picked),
        ("getitem", brackets),
        ("setitem", _assigned),
        ("cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits", _targets),
        ("einsum", einsum),
        ("einops", einops),
    )
    for op in ops.split()
}
