"""einops: parts and axes of a pattern in another order, axes exchanged, a bare reshape in place of moving anything."""

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vitcourse.checking.edits.reference import Function, called, phrases, words
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, expr

Side = list[list[str]]


@dataclass(frozen=True)
class Pattern:
    """One call of einops, and the two sides of its pattern: groups of axes, most of one axis alone."""

    teller: Teller
    call: ast.Call
    left: Side
    right: Side

    @property
    def text(self) -> ast.expr:
        """The pattern's string."""
        return self.call.args[1]

    def written(self, left: Side, right: Side) -> ast.Constant:
        """The string of other sides."""
        return ast.Constant(f"{_side(left)} -> {_side(right)}")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    found = [
        pattern for function in own for teller, node in expressions(function) for pattern in _read_off(teller, node)
    ]
    for pattern in found:
        if called(pattern.call) == "rearrange":
            yield pattern.teller.change("bare reshape", {id(pattern.call): _reshaped(pattern)}, kinds=_kinds(pattern))
            yield from _moved_then_merged(pattern)
        yield from _group_order(pattern)
        yield from _sides(pattern)
        for one, other in itertools.combinations(pattern.call.keywords, 2):
            swapped = {id(one.value): other.value, id(other.value): one.value}
            names = {"one": one.arg or "", "other": other.arg or ""}
            said = {"a": _symbol(names["one"]), "b": _symbol(names["other"])}
            yield pattern.teller.change("sizes exchanged", swapped, names | said)
    if len(found) > 1:
        yield from _all_alike(found)


def _read_off(teller: Teller, node: ast.expr) -> Iterator[Pattern]:
    if isinstance(node, ast.Call) and called(node) in ("rearrange", "repeat"):
        text = node.args[1]
        assert isinstance(text, ast.Constant)
        left, right = str(text.value).split("->")
        yield Pattern(teller, node, _read(left), _read(right))


def _read(side: str) -> Side:
    return [found.strip("()").split() for found in re.findall(r"\([^)]*\)|\S+", side)]


def _side(side: Side) -> str:
    return " ".join(group[0] if len(group) == 1 else f"({' '.join(group)})" for group in side)


def said(axes: list[str], bracket: bool = True) -> str:
    """Axes as one writes them in the outline: P for both of a patch's axes."""
    text = " ".join(_symbol(axis) for axis in axes)
    return f"({text})" if bracket else text


def _symbol(axis: str) -> str:
    return axis.rstrip("0123456789") if axis.rstrip("0123456789") in words()["axes"] else axis


def _reshaped(pattern: Pattern) -> ast.expr:
    return expr("x.reshape(moved.shape)", x=pattern.call.args[0], moved=pattern.call)


def _kinds(pattern: Pattern) -> str:
    axes = words()["axes"]
    moved = [group for group in pattern.left if group != ["B"]]
    names = [axes[_symbol(axis)] for group in moved for axis in group if _symbol(axis) in axes]
    names = list(dict.fromkeys(name.removeprefix("the ") for name in names))
    return " and ".join(names[:2]) if len(names) > 1 else "them"


def _changed_sides(pattern: Pattern) -> Iterator[tuple[Side, Callable[[Side], dict[int, ast.Constant]]]]:
    """Each side of a pattern, and what makes a change of another one in its place."""
    yield pattern.left, lambda side: {id(pattern.text): pattern.written(side, pattern.right)}
    yield pattern.right, lambda side: {id(pattern.text): pattern.written(pattern.left, side)}


def _group_order(pattern: Pattern) -> Iterator[Change]:
    """The axes of one group, or of all groups of a side, in another order."""
    for side, written in _changed_sides(pattern):
        groups = [group for group in side if len(group) > 1]
        options = [list(itertools.permutations(group)) for group in groups]
        for choice in itertools.islice(itertools.product(*options), 64):
            changed = [(old, list(new)) for old, new in zip(groups, choice, strict=True) if list(new) != old]
            if 0 < len(changed) < 3:
                new_side = [next((new for old, new in changed if old is group), group) for group in side]
                says = " ".join(_told(pattern, old, new) for old, new in changed)
                yield Change(says, 14 + 2 * len(changed), written(new_side))


def _told(pattern: Pattern, old: list[str], new: list[str]) -> str:
    """What the other order of a group does, as far as its axes are known."""
    symbols, kinds = [_symbol(axis) for axis in new], {_symbol(axis) for axis in old}
    pixels = [axis for axis in new if axis[0] == "P"]
    turned = "turned" if pixels != sorted(pixels) else "otherwise"
    kind = turned if kinds == {"C", "P"} else "grid" if kinds == {"gh", "gw"} else "heads"
    if len(old) == 2 and "P" in kinds:
        kind = "interleaved"
    elif symbols == ["P", "P", "C"]:
        kind = f"channels last, {turned}"
    elif said(new) == said(old):
        kind = "column by column"
    elif kinds not in ({"gh", "gw"}, {"h", "dh"}, {"C", "P"}):
        kind = "otherwise"
    grid = next((axis for axis in old if _symbol(axis) != "P"), "")
    return pattern.teller.says(phrases()[f"order, {kind}"][1], new=said(new), old=said(old), grid=grid)


def _sides(pattern: Pattern) -> Iterator[Change]:
    """Two whole axes of one side exchanged."""
    for side, written in _changed_sides(pattern):
        comes = "in" if side is pattern.left else "out"
        for one, other in itertools.combinations(range(len(side)), 2):
            new = list(side)
            new[one], new[other] = new[other], new[one]
            a, b = (said(side[place], len(side[place]) > 1) for place in (one, other))
            rank = 18 if len(side[one]) == len(side[other]) or comes == "out" else 30
            yield pattern.teller.change("axes exchanged", written(new), rank=rank, a=a, b=b, comes=comes)
    # Exchanged in what comes in, two names of two groups are another order of what comes out.
    for first, second in itertools.combinations([group for group in pattern.right if len(group) > 1], 2):
        for a, b in itertools.product(first, second):
            names = {a: b, b: a}
            crossed = [[names.get(axis, axis) for axis in group] for group in pattern.right]
            change = {id(pattern.text): pattern.written(pattern.left, crossed)}
            yield pattern.teller.change("names exchanged", change, a=a, b=b)


def _moved_then_merged(pattern: Pattern) -> Iterator[Change]:
    """The single axes in any order, and then a reshape to the right shape: one permute that is not the one."""
    single = [axis for group in pattern.left for axis in group]
    meant = [axis for group in pattern.right for axis in group]
    first = [axis for axis in single[:1] if axis in ("B", "1")]
    for order in itertools.permutations(single[len(first) :]):
        moved = [*first, *order]
        if moved not in (meant, single):
            new = pattern.written(pattern.left, [[axis] for axis in moved])
            call = ast.Call(pattern.call.func, [pattern.call.args[0], new], pattern.call.keywords)
            whole = {id(pattern.call): expr("moved.reshape(right.shape)", moved=call, right=pattern.call)}
            yield pattern.teller.change("permuted otherwise", whole, moved=said(moved), meant=said(meant))


def _all_alike(patterns: list[Pattern]) -> Iterator[Change]:
    """The same done in every pattern: there and back again, so that the two undo each other."""
    change = patterns[0].teller.change
    if all(called(pattern.call) == "rearrange" for pattern in patterns):
        reshaped = {id(pattern.call): _reshaped(pattern) for pattern in patterns}
        yield change("bare reshape, both ways", reshaped, kinds=_kinds(patterns[0]))
    axes = sorted({axis for pattern in patterns for group in pattern.left + pattern.right for axis in group})
    for (one, other), grouped in itertools.product(itertools.combinations(axes, 2), (True, False)):
        replace = {}
        for pattern in patterns:
            new = [_renamed(side, one, other, grouped) for side in (pattern.left, pattern.right)]
            if new != [pattern.left, pattern.right]:
                replace[id(pattern.text)] = pattern.written(*new)
        if len(replace) > 1:
            a, b = _symbol(one), _symbol(other)
            kind = {frozenset(("gh", "gw")): ", grid", frozenset(("h", "dh")): ", heads"}.get(frozenset((a, b)), "")
            yield change(f"exchanged everywhere{kind}", replace, a=a, b=b)


def _renamed(side: Side, one: str, other: str, grouped: bool) -> Side:
    names = {one: other, other: one}
    return [
        [names.get(axis, axis) for axis in group]
        if (len(group) > 1) == grouped and (not grouped or {one, other} <= set(group))
        else group
        for group in side
    ]
