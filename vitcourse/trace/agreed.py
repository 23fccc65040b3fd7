"""What is asked of tensors axis by axis: equations of words, einsum's and einops' letters, names, brackets."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from vitcourse.trace.fault import Fault, axis_words, has_axes, ordinal, sized
from vitcourse.trace.record import Axis, Shape

Seen = dict[str, tuple[Axis, str, str]]


def _axes(asked: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
    """What is asked of each of so many axes; dots, if there are any, stand for those in the middle, from the last."""
    dots = asked.index("...") if "..." in asked else len(asked)
    behind = count - len(asked[dots + 1 :])
    yield from ((word, place) for place, word in enumerate(asked[:dots]))
    yield from ((word, place) for place, word in enumerate(asked[dots + 1 :], start=behind))
    yield from ((f"...{behind - place}", place) for place in range(behind - 1, dots - 1, -1))


def _misfit(asked: Sequence[str], count: int) -> str:
    """How many axes are asked, where that isn't so many; dots may stand for none."""
    named = len(asked) - ("..." in asked)
    if "..." in asked:
        return f"at least {named}" if named > count else ""
    return str(named) if named != count else ""


def agreed(
    fault: Fault, terms: Sequence[str], known: Mapping[str, int] = MappingProxyType({}), who: str = "", why: str = ""
) -> str:
    """Two sizes that should be one, in words for the axes of each tensor, as in an equation of einsum.

    Words in parentheses may be left out; dots, words that start with them, and those of a tensor with a tilde may be
    spread. A number is a size, as is a product, 3·b; an underscore is any. Of a tensor without words nothing is asked.
    Some words may be known before; `who` asks for how many axes, and `why` two must be equal.
    """
    seen = {word: (Axis(size, word), "", "") for word, size in known.items()}
    return next(filter(fault.fits, _disagreeing(fault, terms, seen, who or f"{fault.takes} takes", why)), "")


def _disagreeing(fault: Fault, terms: Sequence[str], seen: Seen, who: str, why: str) -> Iterator[str]:
    pairs = [pair for pair in zip(fault.operands, terms, strict=False) if pair[1]]
    for (x, shape), term in sorted(pairs, key=lambda pair: pair[1].startswith("~")):
        free, words = term.startswith("~"), term.strip("~").split()
        least = [word for word in words if word[0] != "(" or word.strip("()") in seen]
        asked = words if len(words) - ("..." in words) <= len(shape) else least
        asked = asked[max(len(asked) - len(shape), 0) :] if free else asked
        if misfit := _misfit(asked, len(shape)):
            either = len(least) < len(words) and "..." not in words
            yield has_axes(x, shape, f"{who} {f'{len(least)} or {len(words)}' if either else misfit}")
            continue
        asked = [word.strip("()") for word in asked]
        for word, place in sorted(_axes(asked, len(shape)), key=lambda pair: pair[0].startswith("...")):
            axis, which = shape[place], ordinal(place, len(shape))
            spread = free or word.startswith("...")
            if word == "_" or (spread and axis.size == 1):
                continue
            other, y, first = _known(word, seen) or (axis, x, which)
            seen.setdefault(word, (other, y, first))
            if axis.size == other.size:
                continue
            if not y:
                one = " or 1" if free and other.size != 1 else ""
                yield f"{axis_words(x, shape, place)}, {fault.takes} takes {sized(other)}{one}"
            elif fault.owns(x):
                yield f"{y}'s {first} axis is {sized(other)}, {fault.module} takes {sized(axis)}"
            else:
                equal = ": both are the batch" if word == "b" else ": they must be equal"
                told = f": {why}" if why else ", and axes match from the last one" if spread else equal
                yield f"{y}'s {first} axis is {sized(other)}, {x}'s {which} is {sized(axis)}{told}"


def apart(fault: Fault, operands: Sequence[tuple[str, Shape]]) -> str:
    """Two tensors, of some, that can't be spread to one shape."""
    pairs = (replace(fault, operands=pair) for pair in combinations(operands, 2))
    return next(filter(None, (agreed(pair, ["...", "..."]) for pair in pairs)), "")


def _known(word: str, seen: Seen) -> tuple[Axis, str, str] | None:
    """The size that a word stands for, and where it was seen, if it is no number."""
    parts = word.split("·")
    if word in seen or not all(part in seen or part.isdigit() for part in parts):
        return seen.get(word)
    factors = [seen[part][0] if part in seen else Axis(int(part)) for part in parts]
    named = any(factor.name for factor in factors)
    return Axis(prod(f.size for f in factors), "·".join(f.word for f in factors) if named else None), "", ""


def einsum(fault: Fault) -> str:
    """A letter that stands for two sizes, or as many letters as there are no axes."""
    terms = "".join(str(fault.args[0]).split()).partition("->")[0].split(",")
    if len(terms) != len(fault.operands):
        return f"{len(fault.operands)} tensors are given, the equation is of {len(terms)}"
    words = [" ".join(f"...{letter}" for letter in re.findall(r"\.\.\.|\w", letters)) for letters in terms]
    words = [word.replace("......", "...") for word in words]
    return agreed(fault, words, who="the equation names", why="in the equation they are one")


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


_SIZES = re.compile(r"(?:.*=\s*)?(?P<value>(?P<x>\w+)\.(?:shape|size\(\))(?:\[(?P<part>[-\d:]+)\])?)")


def taken_apart(fault: Fault) -> str:
    """Names for the parts of something, more or fewer than there are; or a place that a shape doesn't have."""
    names = re.search(r"values to unpack \(expected ((?:at least )?\d+)", fault.message)
    value, shape, count = fault.made
    asked = f"{names[1]} names are given" if names is not None else ""
    sizes, known = _SIZES.fullmatch(value), dict(fault.operands)
    if sizes is not None and sizes["x"] in known:
        x, whole = sizes["x"], known[sizes["x"]]
        part = sizes["part"] or ":"
        if asked:
            taken = whole[slice(*(int(end) if end else None for end in part.split(":")))]
            return has_axes(x if taken == whole else sizes["value"], taken, asked)
        beyond = ":" not in part and not -len(whole) <= int(part) < len(whole)
        return has_axes(x, whole, f"0 to {len(whole) - 1}: there is no {part}") if beyond else ""
    given = f"{axis_words(value, shape, 0)}," if shape else f"{value} gives {count}:" if count else ""
    return f"{given} {asked}" if given and asked and not asked.startswith(f"{count} ") else ""


def brackets(fault: Fault) -> str:
    """A place that an axis doesn't have, a mask of another size, or more places than there are axes."""
    (x, shape), index = fault.operand(0), fault.args[1]
    parts = [part for part in (index if isinstance(index, tuple) else (index,)) if part is not None]
    asked = [_places(part) for part in parts]
    count, axis = sum(axes for _, axes in asked), 0
    if "too many indices" in fault.message:
        return has_axes(x, shape, f"the brackets ask for {count}")
    if "broadcast together" in fault.message:
        tensors = fault.operands[1:][: sum(isinstance(part, Tensor) for part in parts)]
        return apart(fault, [_taken(x, shape, fault.tensors[x]) for x, shape in tensors])
    if not re.search("out of bounds|shape of the mask", fault.message):
        return ""
    words = iter(fault.operands[1:])
    for part, (places, axes) in zip(parts, asked, strict=True):
        name, mask = next(words) if isinstance(part, Tensor) else ("", ())
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


def _taken(x: str, shape: Shape, index: Tensor) -> tuple[str, Shape]:
    """Places along an axis, and of a mask those that it chooses."""
    return (f"{x}.nonzero()", (Axis(int(index.sum())),)) if index.dtype == torch.bool else (x, shape)


def _places(part: Any) -> tuple[list[int] | None, int]:
    """The numbers in one part of an index, None for a mask, and over how many axes it goes."""
    if part is ... or isinstance(part, slice):
        return [], 0 if part is ... else 1
    numbers = torch.as_tensor(part)
    if numbers.dtype in (torch.bool, torch.uint8):
        return None, numbers.ndim
    return numbers.flatten().tolist(), 1
