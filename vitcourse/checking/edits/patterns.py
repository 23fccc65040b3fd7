"""einops: parts and axes of a pattern in another order, axes exchanged, a bare reshape in place of moving anything."""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vitcourse.checking.edits.reference import Function, called, words
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change, expr, own_expressions

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

    @property
    def sizes(self) -> str:
        """What is handed over beside the pattern."""
        return "".join(f", {keyword.arg}={ast.unparse(keyword.value)}" for keyword in self.call.keywords)


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    found = [
        pattern for function in own for line in function.lines() for pattern in _patterns(Teller(function, line), line)
    ]
    for pattern in found:
        yield from _bare_reshape(pattern)
        yield from _group_order(pattern)
        yield from _sides(pattern)
        yield from _moved_then_merged(pattern)
        yield from _sizes(pattern)
        yield from _merged_otherwise(pattern)
    if len(found) > 1:
        yield from _all_alike(found)


def _patterns(teller: Teller, line: ast.stmt) -> Iterator[Pattern]:
    for node in own_expressions(line):
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


def _bare_reshape(pattern: Pattern) -> Iterator[Change]:
    if called(pattern.call) != "rearrange":
        return
    step = pattern.teller.step
    says = (
        f"A bare reshape (or view) stands where the axes should be moved ({step}): the shape is right, but the "
        "numbers stay in memory "
        f"order, which mixes {_kinds(pattern)}. Split, permute or transpose, then merge."
    )
    yield Change(says, 10, {id(pattern.call): _reshaped(pattern)})


def _reshaped(pattern: Pattern) -> ast.expr:
    return expr("x.reshape(moved.shape)", x=pattern.call.args[0], moved=pattern.call)


def _kinds(pattern: Pattern) -> str:
    axes = words()["axes"]
    moved = [group for group in pattern.left if group != ["B"]]
    names = [axes[_symbol(axis)] for group in moved for axis in group if _symbol(axis) in axes]
    names = list(dict.fromkeys(name.removeprefix("the ") for name in names))
    return " and ".join(names[:2]) if len(names) > 1 else "them"


def _group_order(pattern: Pattern) -> Iterator[Change]:
    """The axes of one group, or of all groups of a side, in another order."""
    for side, name in ((pattern.left, "left"), (pattern.right, "right")):
        groups = [group for group in side if len(group) > 1]
        options = [list(itertools.permutations(group)) for group in groups]
        for choice in itertools.islice(itertools.product(*options), 64):
            changed = [(old, list(new)) for old, new in zip(groups, choice, strict=True) if list(new) != old]
            if not changed or len(changed) > 2:
                continue
            new_side = [list(new) for new in side]
            for old, new in changed:
                new_side[side.index(old)] = new
            whole = (new_side, pattern.right) if name == "left" else (pattern.left, new_side)
            says = " ".join(_told(pattern, old, new) for old, new in changed)
            yield Change(
                says,
                14 + 2 * len(changed),
                {id(pattern.text): pattern.written(*whole)},
            )


def _told(pattern: Pattern, old: list[str], new: list[str]) -> str:
    step = pattern.teller.step
    text = f"{said(new)} stands where {said(old)} is meant ({step})"
    pixels = [axis for axis in new if axis[0] == "P"]
    turned = pixels != sorted(pixels)
    kinds = {_symbol(axis) for axis in old}
    if len(old) == 2 and "P" in kinds:
        grid = next(axis for axis in old if _symbol(axis) != "P")
        return f"{text}: neighbouring pixels end up far apart, every {grid}-th one together, interleaved."
    if kinds == {"gh", "gw"} or kinds == {"h", "dh"}:
        what = "column by column, not row by row: rows and columns of the grid are exchanged, transposed"
        if "dh" in kinds:
            what = (
                "interleaved: a head has every h-th column; the columns of a head stand side by side, one head "
                "after the other"
            )
        return f"{text}: {what}."
    if kinds == {"C", "P"}:
        if [_symbol(axis) for axis in new] == ["P", "P", "C"]:
            text = f"(P P C) stands where (C P P) is meant, channels last ({step})"
        elif said(new) == said(old):
            text = f"The pixels of a patch come column by column ({step})"
        return f"{text}{': each patch is transposed, its rows and columns are exchanged' if turned else ''}."
    return f"{text}: the order is another."


def _sides(pattern: Pattern) -> Iterator[Change]:
    """Two whole axes of one side exchanged."""
    for side, name in ((pattern.left, "left"), (pattern.right, "right")):
        for one, other in itertools.combinations(range(len(side)), 2):
            new = list(side)
            new[one], new[other] = new[other], new[one]
            whole = (new, pattern.right) if name == "left" else (pattern.left, new)
            a, b = (said(side[place], len(side[place]) > 1) for place in (one, other))
            what = "what comes in" if name == "left" else "what comes out"
            says = f"The axes {a} and {b} of {what} are exchanged, transposed ({pattern.teller.step})."
            rank = 18 if len(side[one]) == len(side[other]) or name == "right" else 30
            yield Change(says, rank, {id(pattern.text): pattern.written(*whole)})


def _moved_then_merged(pattern: Pattern) -> Iterator[Change]:
    """The single axes in any order, and then a reshape to the right shape: one permute that is not the one."""
    if called(pattern.call) != "rearrange":
        return
    single = [axis for group in pattern.left for axis in group]
    meant = [axis for group in pattern.right for axis in group]
    step = pattern.teller.step
    first = [axis for axis in single[:1] if axis in ("B", "1")]
    for order in itertools.permutations(single[len(first) :]):
        moved = [*first, *order]
        if moved in (meant, single):
            continue
        new = pattern.written(pattern.left, [[axis] for axis in moved])
        call = ast.Call(pattern.call.func, [pattern.call.args[0], new], pattern.call.keywords)
        says = (
            f"Before they are merged by a reshape the axes stand in the order {said(moved)}; they should stand "
            f"as {said(meant)} "
            f"({step}): a permute brings them there."
        )
        whole = expr("moved.reshape(right.shape)", moved=call, right=pattern.call)
        yield Change(says, 32, {id(pattern.call): whole})


def _sizes(pattern: Pattern) -> Iterator[Change]:
    for one, other in itertools.combinations(pattern.call.keywords, 2):
        says = (
            f"The sizes {_symbol(one.arg or '')} and {_symbol(other.arg or '')} are exchanged, swapped "
            f"({pattern.teller.step}): "
            f"({one.arg}, {other.arg}) is the order."
        )
        swapped: dict[int, ast.AST | list[ast.stmt]] = {id(one.value): other.value, id(other.value): one.value}
        yield Change(says, 18, swapped)
    yield from _sizes_of_others(pattern)


def _sizes_of_others(pattern: Pattern) -> Iterator[Change]:
    """A size that stands for another axis of its group, or for two axes."""
    call, teller = pattern.call, pattern.teller
    given = {size.arg: size for size in call.keywords}
    for group in pattern.left + pattern.right:
        for name, instead in itertools.permutations(group, 2):
            if name in given and instead not in given:
                rest = [ast.keyword(instead, size.value) if size.arg == name else size for size in call.keywords]
                says = (
                    f"{_symbol(name)} and {_symbol(instead)} are exchanged ({teller.step}): the number that is given "
                    f"stands for {_symbol(instead)}, and should stand for {_symbol(name)}."
                )
                new = ast.Call(call.func, call.args, rest)
                yield Change(says, 20, {id(call): new})
    for name in teller.function.scope[id(teller.line)]:
        if teller.function.kinds.get(name) == "number" and len(call.keywords) > 1:
            both = call.keywords[:2]
            alike: dict[int, ast.AST | list[ast.stmt]] = {id(size.value): ast.Name(name, ast.Load()) for size in both}
            axes = " and ".join(_symbol(size.arg or "") for size in both)
            says = f"{teller.name(name)} stands for {axes}, the sizes of the grid ({teller.step})."
            yield Change(says, 26, alike)


def _merged_otherwise(pattern: Pattern) -> Iterator[Change]:
    """What comes out, with axes left apart that should be one, or made one that should be two."""
    step = pattern.teller.step
    flat = [axis for group in pattern.right for axis in group]
    meant = _shape(pattern.right)
    for place, group in enumerate(pattern.right):
        for cut in range(1, len(group)):
            new = [*pattern.right[:place], group[:cut], group[cut:], *pattern.right[place + 1 :]]
            says = (
                f"The result is {_shape(new)}, and not {meant}: {said(group)} should be one axis, and is several "
                f"({step})."
            )
            yield Change(says, 24, {id(pattern.text): pattern.written(pattern.left, new)})
        if place + 1 < len(pattern.right):
            new = [*pattern.right[:place], group + pattern.right[place + 1], *pattern.right[place + 2 :]]
            says = f"The result is {_shape(new)}, and not {meant}: two of its axes are merged into one ({step})."
            yield Change(says, 26, {id(pattern.text): pattern.written(pattern.left, new)})
    apart = [[axis] for axis in flat]
    says = f"The axes are never merged: the result is {_shape(apart)}, and not {meant} ({step})."
    yield Change(says, 20, {id(pattern.text): pattern.written(pattern.left, apart)})


def _shape(side: Side) -> str:
    return f"({', '.join('·'.join(_symbol(axis) for axis in group) for group in side)})"


def _all_alike(patterns: list[Pattern]) -> Iterator[Change]:
    """The same done in every pattern: there and back again, so that the two undo each other."""
    if all(called(pattern.call) == "rearrange" for pattern in patterns):
        says = (
            "A bare reshape stands in both places where axes should be moved, there and on the way back: the "
            "shapes are right, but the "
            f"numbers stay in memory order, which mixes {_kinds(patterns[0])}."
        )
        yield Change(says, 14, {id(pattern.call): _reshaped(pattern) for pattern in patterns})
    axes = sorted({axis for pattern in patterns for group in pattern.left + pattern.right for axis in group})
    for one, other in itertools.combinations(axes, 2):
        for grouped in (True, False):
            replace: dict[int, ast.AST | list[ast.stmt]] = {}
            for pattern in patterns:
                new = [_renamed(side, one, other, grouped) for side in (pattern.left, pattern.right)]
                if new != [pattern.left, pattern.right]:
                    replace[id(pattern.text)] = pattern.written(*new)
            if len(replace) < 2:
                continue
            a, b = _symbol(one), _symbol(other)
            says = f"{a} and {b} are exchanged in every place: ({b} {a}) stands where ({a} {b}) is meant"
            if {a, b} == {"gh", "gw"}:
                says += (
                    ": rows and columns are swapped, the grid is transposed, column by column where row by row is meant"
                )
            if {a, b} == {"h", "dh"}:
                says = (
                    "(dh h) stands where (h dh) is meant, both ways: interleaved, a head has every h-th column; "
                    "the columns of a head stand side by side"
                )
            yield Change(f"{says}.", 16, replace)


def _renamed(side: Side, one: str, other: str, grouped: bool) -> Side:
    names = {one: other, other: one}
    return [
        [names.get(axis, axis) for axis in group]
        if (len(group) > 1) == grouped and (not grouped or {one, other} <= set(group))
        else group
        for group in side
    ]
