"""One step, asked alone: what happens to its results when its operands have other sizes.

An axis of a result that changes with an axis of an operand comes from it, and two axes that can only change together
are one size. No function of torch needs a rule. A question is asked on tensors without numbers, and only once: its
answer depends on nothing but the function, the sizes and the other arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Any

import torch
from torch import Tensor

from vitcourse.trace.recorder import UNCHECKED, Sizes, mapped, tensors_in

# A size in terms of the operands' axes, counted through: one of them, or a number, and products of axes with a factor
# each. None where it is not known.
Grown = tuple[int, tuple[tuple[int | Fraction, tuple[int, ...]], ...]] | None
Growth = int | Grown
# The shapes of the results at other sizes.
Seen = list[tuple[int, list[Sizes]]]
MOST = 20_000


@dataclass(frozen=True)
class Answer:
    """The operands' axes that must be equal, as pairs, those that can't change, and the sizes of each result's axes."""

    equal: tuple[tuple[int, int], ...] = ()
    stuck: tuple[int, ...] = ()
    results: tuple[tuple[Growth, ...], ...] = ()


# The answers to the questions that were asked.
_answers: dict[Any, Answer] = {}
_PLAIN = frozenset((type(None), float, str, torch.dtype, torch.device, type(...)))


def frozen(value: Any, found: list[Any]) -> Any:
    """Arguments as something to look up, with their kinds in the place of tensors; these and the numbers are found."""
    kind = type(value)
    if kind is int:
        found.append(value)
        return value
    if kind in _PLAIN:
        return value
    if isinstance(value, Tensor):
        found.append(value)
        return value.dtype, value.shape
    if kind is bool:
        # One that is no number: x[True] isn't x[1].
        return str(value)
    if isinstance(value, (tuple, list)):
        return tuple([frozen(item, found) for item in value])
    if kind is dict:
        return tuple([(key, frozen(item, found)) for key, item in value.items()])
    if kind is slice:
        return ("slice", frozen((value.start, value.stop, value.step), found))
    return repr(value)


def answer(key: Any, pattern: list[int], question: Callable[[], "Question"]) -> Answer:
    """The answer to a question, by what it depends on, where operands' axes of one number in the pattern are one size.

    -1 is a plain number, which can't change.
    """
    known = _answers.get(key)
    if known is None:
        if len(_answers) >= MOST:
            _answers.clear()
        with torch.no_grad():
            known = _answers[key] = question().answer(pattern)
    return known


class Question:
    """A call of a function of torch, with its operands and the shapes of its results."""

    def __init__(
        self, name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], found: list[Any],
        results: list[Tensor],
    ) -> None:  # fmt: skip
        self.name, self.func, self.args, self.kwargs = name, func, args, kwargs
        self.operands = [value for value in found if type(value) is not int]
        self.numbers = [value for value in found if type(value) is int]
        self.written = set(self.numbers)
        self._places = {id(tensor): place for place, tensor in enumerate(self.operands)}
        self.sizes = [n for tensor in self.operands for n in tensor.shape]
        self.results = [tuple(tensor.shape) for tensor in results]

    def answer(self, pattern: list[int]) -> Answer:
        """Change the axes that can change, those that only change together as one, and see what the results do."""
        if self.name in UNCHECKED:
            return Answer(results=tuple((None,) * len(shape) for shape in self.results))
        classes = {kind: [i for i, other in enumerate(pattern) if other == kind] for kind in pattern if kind >= 0}
        told: list[tuple[int, Seen]] = []
        equal: list[tuple[int, int]] = []
        stuck: list[int] = []
        while classes:
            places = classes.pop(next(iter(classes)))
            seen = self._seen(places)
            if seen is None:
                size = self.sizes[places[0]]
                same = {kind: others for kind, others in classes.items() if self.sizes[others[0]] == size}
                # One channel may have to be as many as a plain 1: those that the weights take.
                same |= {~i: [i] for i, kind in enumerate(pattern) if kind < 0 and self.sizes[i] == size == 1}
                some, seen = self._together(places, same)
                equal += [(places[0], same[kind][0]) for kind in some]
                classes = {kind: others for kind, others in classes.items() if kind not in some}
            if seen is None:
                stuck.append(places[0])
            else:
                told.append((places[0], seen))
        held = self.written if told and not stuck else {n for shape in self.results for n in shape}
        results = [
            tuple(self._size([(place, [(new, at[i][j]) for new, at in seen]) for place, seen in told], n, n in held)
                  for j, n in enumerate(shape))
            for i, shape in enumerate(self.results)
        ]  # fmt: skip
        return Answer(tuple(equal), tuple(stuck), tuple(results))

    def _size(self, told: list[tuple[int, list[tuple[int, int]]]], size: int, held: bool) -> Growth:
        """One axis of a result, from what it was at two other sizes of each class; None where it is not known."""
        causes = [(place, self.sizes[place], seen) for place, seen in told if any(now != size for _, now in seen)]
        if not causes:
            return None if held else (size, ())
        # Two axes of one size, the sides of a patch, may be in one.
        powers = [
            next((p for p in (1, 2) if all(now * was**p == size * new**p for new, now in seen)), 0)
            for _, was, seen in causes
        ]
        if all(powers):
            places = tuple(place for (place, _, _), power in zip(causes, powers, strict=True) for _ in range(power))
            times = Fraction(size, prod(self.sizes[place] for place in places))
            return places[0] if len(places) == 1 and times == 1 else (0, ((times, places),))
        slopes = [{Fraction(now - size, new - was) for new, now in seen} for _, was, seen in causes]
        if any(len(slope) > 1 for slope in slopes):
            # It doesn't grow evenly: a floor, whose rest these sizes hide.
            return None
        terms = tuple((slope.pop(), (place,)) for (place, _, _), slope in zip(causes, slopes, strict=True))
        rest = size - sum(int(times * self.sizes[place]) for times, (place,) in terms)
        return None if held and rest else (rest, terms)

    def _together(self, places: list[int], others: dict[int, list[int]]) -> tuple[list[int], Seen | None]:
        """The fewest others with which axes can change, which are one size with them, and the results' shapes then."""

        def seen(some: Sequence[int]) -> Seen | None:
            return self._seen([*places, *(place for kind in some for place in others[kind])])

        few = len(others) if len(others) < 5 else 1
        for some in (some for number in range(1, few + 1) for some in combinations(others, number)):
            if (found := seen(some)) is not None:
                return list(some), found
        # Of many, a stack of patches say, all but those that aren't needed: trying all choices would take too long.
        needed = list(others)
        if few == len(others) or (found := seen(needed)) is None:
            return [], None
        # Two that must be equal to one another are left out together.
        for some in (*combinations(others, 1), *combinations(others, 2 if len(others) < 10 else 1)):
            rest = [kind for kind in needed if kind not in some]
            if len(rest) < len(needed) and (fewer := seen(rest)) is not None:
                needed, found = rest, fewer
        return needed, found

    def _seen(self, places: list[int]) -> Seen | None:
        """The results' shapes at two other sizes of the axes; None where they can't change."""
        size = self.sizes[places[0]]
        # A size that is written too, normalized_shape say, changes where it is written; of two such nobody knows
        # which is which. One is a stride, or a number of groups, rather than a size.
        for numbers in (False, True) if self.numbers.count(size) == 1 and size > 1 else (False,):
            seen: Seen = []
            # What must divide can't be one more.
            for new in (2 * size, size + 1, 3 * size):
                shapes = self._at(places, new, {size: new} if numbers else {})
                if shapes is not None:
                    seen.append((new, shapes))
                elif new != size + 1:
                    break
                if len(seen) == 2:
                    return seen
        return None

    def _at(self, places: list[int], new: int, numbers: Mapping[int, int]) -> list[Sizes] | None:
        sizes = iter([new if place in places else size for place, size in enumerate(self.sizes)])
        meta = [
            torch.empty([next(sizes) for _ in tensor.shape], dtype=tensor.dtype, device="meta")
            for tensor in self.operands
        ]

        def put(value: Any) -> Any:
            if isinstance(value, Tensor):
                return meta[self._places[id(value)]]
            return numbers.get(value, value) if type(value) is int else value

        try:
            result = self.func(*mapped(self.args, put), **mapped(self.kwargs, put))
        except Exception:
            return None
        shapes = [tuple(tensor.shape) for tensor in tensors_in(result)]
        return shapes if [*map(len, shapes)] == [*map(len, self.results)] else None
