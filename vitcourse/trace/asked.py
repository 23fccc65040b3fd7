"""What is asked of a tensor axis by axis: einsum's and einops' letters, names that a shape is given, brackets."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from vitcourse.trace.fault import Fault, axis_words, has_axes, ordinal, sized
from vitcourse.trace.record import Axis

_NAMED = (
    "input tensor query input1 x1 mat1 batch1 key input2 x2 mat2 batch2 vec value other target index mask weight bias"
)
_TURNS = {word: turn for turn, word in enumerate(_NAMED.split())}


def _axes(asked: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
    """What is asked of each of so many axes; dots, if there are any, stand for those in the middle."""
    dots = asked.index("...") if "..." in asked else len(asked)
    yield from ((word, place) for place, word in enumerate(asked[:dots]))
    behind = asked[dots + 1 :]
    yield from ((word, count - len(behind) + place) for place, word in enumerate(behind))


def _misfit(asked: Sequence[str], count: int) -> str:
    """How many axes are asked, where that isn't so many; dots may stand for none."""
    named = len(asked) - ("..." in asked)
    if "..." in asked:
        return f"at least {named}" if named > count else ""
    return str(named) if named != count else ""


def einsum(fault: Fault) -> str:
    """A letter that stands for two sizes, or as many letters as there are no axes."""
    terms = "".join(str(fault.args[0]).split()).partition("->")[0].split(",")
    if len(terms) != len(fault.operands):
        return f"{len(fault.operands)} tensors are given, the equation is of {len(terms)}"
    seen: dict[str, tuple[Axis, str, str]] = {}
    for (x, shape), letters in zip(fault.operands, terms, strict=True):
        asked = re.findall(r"\.\.\.|\w", letters)
        if named := _misfit(asked, len(shape)):
            return has_axes(x, shape, f"the equation names {named}")
        for letter, place in _axes(asked, len(shape)):
            axis, which = shape[place], ordinal(place, len(shape))
            other, y, first = seen.setdefault(letter, (axis, x, which))
            if axis.size != other.size and 1 not in (axis.size, other.size):
                one, two = sized(other), sized(axis)
                return f"{y}'s {first} axis is {one}, {x}'s {which} is {two}: in the equation they are one"
    return ""


def einops(fault: Fault) -> str:
    """An axis that can't be taken apart as the left side of a pattern says."""
    x, shape = fault.operand(0)
    pattern, lengths = fault.args
    # A layer of einops looks up how many axes there are, and says no more.
    if not re.search(r"Shape mismatch|Wrong shape|^\d+$", fault.message):
        return ""
    asked = re.findall(r"\([^)]*\)|\.\.\.|\S+", pattern.partition("->")[0].replace("…", "..."))
    if named := _misfit(asked, len(shape)):
        return has_axes(x, shape, f"the pattern names {named}")
    for word, place in _axes(asked, len(shape)):
        factors = word.strip("()").split()
        known = [int(lengths.get(name, name)) for name in factors if name in lengths or name.isdigit()]
        multiple = "a multiple of " if len(known) < len(factors) else ""
        needed, size = prod(known), shape[place].size
        if needed and size % needed if multiple else size != needed:
            return f"{axis_words(x, shape, place)}, {word} needs {multiple}{needed}"
    return ""


def unpacked(fault: Fault) -> str:
    """Names for the sizes of a shape, more or fewer than it has; or a place that it doesn't have."""
    (x, shape), (names, place) = fault.operand(0), fault.args
    if place is not None:
        beyond = not -len(shape) <= place < len(shape)
        return has_axes(x, shape, f"0 to {len(shape) - 1}: there is no {place}") if beyond else ""
    return has_axes(x, shape, f"{names} names are given") if names != len(shape) else ""


def brackets(fault: Fault) -> str:
    """A place that an axis doesn't have, a mask of another size, or more places than there are axes."""
    (x, shape), index = fault.operand(0), fault.args[1]
    parts = [part for part in (index if isinstance(index, tuple) else (index,)) if part is not None]
    asked = [_places(part) for part in parts]
    count, axis = sum(axes for _, axes in asked), 0
    if "too many indices" in fault.message:
        return has_axes(x, shape, f"the brackets ask for {count}")
    if not re.search("out of bounds|shape of the mask", fault.message):
        return ""
    words = iter(fault.operands[1:])
    for part, (places, axes) in zip(parts, asked, strict=True):
        name, mask = next(words) if isinstance(part, torch.Tensor) else ("", ())
        if isinstance(places, list):
            size = shape[axis].size
            if wrong := [place for place in places if not -size <= place < size]:
                places_there = f", 0 to {size - 1}" if size else ""
                return f"{axis_words(x, shape, axis)}{places_there}: there is no {wrong[0]}"
        for place, chosen in enumerate(mask if places is None else ()):
            if chosen.size != shape[axis + place].size:
                of, which = axis_words(x, shape, axis + place), ordinal(place, len(mask))
                return f"{of}, {name}'s {which} is {sized(chosen)}: a mask has the axes that it chooses from"
        axis += len(shape) - count if part is ... else axes
    return ""


def _places(part: Any) -> tuple[list[int] | None, int]:
    """The numbers in one part of an index, None for a mask, and over how many axes it goes."""
    if part is ... or isinstance(part, slice):
        return [], 0 if part is ... else 1
    numbers = torch.as_tensor(part)
    if numbers.dtype in (torch.bool, torch.uint8):
        return None, numbers.ndim
    return [] if numbers.is_floating_point() else numbers.flatten().tolist(), 1


def in_turn(kwargs: Mapping[str, Any]) -> list[Any]:
    """What was passed by name, as torch's functions take it in turn, whatever the order in which it was named."""
    return [kwargs[word] for word in sorted(kwargs, key=lambda word: _TURNS.get(word, len(_TURNS)))]


def pattern_in(trace: TracebackType | None) -> tuple[Tensor, str, dict[str, int]] | None:
    """The tensor, the pattern and the lengths that einops was given in a line."""
    while trace is not None:
        inside, owner = trace.tb_frame.f_locals, trace.tb_frame.f_locals.get("self")
        tensors = [value for value in inside.values() if isinstance(value, Tensor)]
        if trace.tb_frame.f_globals.get("__name__", "").startswith("einops") and len(tensors) == 1:
            told = {"pattern": "", "axes_lengths": {}, **getattr(owner, "__dict__", {}), **inside}
            return tensors[0], told["pattern"], told["axes_lengths"]
        trace = trace.tb_next
    return None


def unpacked_in(text: str, local: Mapping[str, Any]) -> tuple[tuple[str, Tensor], int, int | None] | None:
    """Of `b, n, d = x.shape`: the tensor by name, and how many names its sizes are given; of `x.shape[3]` the place."""
    sizes = r"(?P<x>\w+)\.(?:shape|size\(\))"
    taken = re.fullmatch(rf"[(\[]?(?P<names>[\w, ]+)[)\]]?\s*=\s*{sizes}", text)
    found = taken or re.fullmatch(rf"{sizes}\[(?P<place>-?\d+)\]", text)
    if found is None or not isinstance(tensor := local.get(found["x"]), Tensor):
        return None
    if taken is not None:
        return (found["x"], tensor), len(re.findall(r"\w+", taken["names"])), None
    return (found["x"], tensor), 0, int(found["place"])
