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

from vitcourse.trace.recorder import Sizes, tensors_in

# Kernels that read past the end of a tensor that is too short, instead of refusing it.
_UNSAFE = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))
# A size in terms of the operands' axes, counted through: one of them, or a number, and products of axes with a factor
# each. None where it is not known.
Grown = tuple[int, tuple[tuple[int | Fraction, tuple[int, ...]], ...]] | None
Growth = int | Grown
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


def frozen(value: Any, put: Callable[[Tensor], Any], found: list[Any]) -> Any:
    """Arguments as something to look up, with something in the place of tensors; these and the numbers are found."""
    kind = type(value)
    if kind is int:
        found.append(value)
        return value
    if kind in _PLAIN:
        return value
    if isinstance(value, Tensor):
        found.append(value)
        return put(value)
    if kind is bool:
        # One that is no number: x[True] isn't x[1].
        return str(value)
    if isinstance(value, (tuple, list)):
        return tuple([frozen(item, put, found) for item in value])
    if kind is dict:
        return tuple([(key, frozen(item, put, found)) for key, item in value.items()])
    if kind is slice:
        return ("slice", frozen((value.start, value.stop, value.step), put, found))
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
        self.written = {value for value in found if type(value) is int}
        self._places = {id(tensor): place for place, tensor in enumerate(self.operands)}
        self.results = [tuple(tensor.shape) for tensor in results]

    def answer(self, pattern: list[int]) -> Answer:
        """Change the axes that can change, those that only change together as one, and see what the results do."""
        if self.name in _UNSAFE:
            return Answer(results=tuple((None,) * len(shape) for shape in self.results))
        self.sizes = [n for tensor in self.operands for n in tensor.shape]
        classes = {kind: [i for i, other in enumerate(pattern) if other == kind] for kind in pattern if kind >= 0}
        told: list[tuple[int, list[list[Sizes]]]] = []
        equal: list[tuple[int, int]] = []
        stuck: list[int] = []
        while classes:
            places = classes.pop(next(iter(classes)))
            size = self.sizes[places[0]]
            seen = self._seen(places, size)
            same = [kind for kind, others in classes.items() if self.sizes[others[0]] == size]
            if seen is None:
                some, seen = self._together(places, size, {kind: classes[kind] for kind in same})
                more = [classes.pop(kind) for kind in some]
                equal += [(places[0], others[0]) for others in more]
            if seen is None:
                stuck.append(places[0])
            else:
                told.append((places[0], seen))
        return Answer(
            tuple(equal),
            tuple(stuck),
            tuple(
                tuple(
                    self._size(told, i, j, n, bool(stuck) or not told or n in self.written) for j, n in enumerate(shape)
                )
                for i, shape in enumerate(self.results)
            ),
        )

    def _size(self, told: list[tuple[int, list[list[Sizes]]]], i: int, j: int, size: int, stuck: bool) -> Growth:
        """One axis of a result, from what it was at twice and three times each size."""
        causes = [(place, seen[0][i][j], seen[1][i][j]) for place, seen in told]
        causes = [cause for cause in causes if cause[1:] != (size, size)]
        if not causes:
            return None if stuck else (size, ())
        if any(thrice < 0 for _, _, thrice in causes):
            # It doesn't grow evenly: a floor, whose rest these sizes hide.
            return None
        square = {(2 * size, 3 * size): 1, (4 * size, 9 * size): 2}
        powers = [square.get((twice, thrice), 0) for _, twice, thrice in causes]
        if all(powers):
            places = tuple(place for (place, _, _), power in zip(causes, powers, strict=True) for _ in range(power))
            times = Fraction(size, prod(self.sizes[place] for place in places))
            return places[0] if len(places) == 1 and times == 1 else (0, ((times, places),))
        if all(thrice - size == 2 * (twice - size) for _, twice, thrice in causes):
            terms = tuple((Fraction(twice - size, self.sizes[place]), (place,)) for place, twice, _ in causes)
            rest = size - sum(twice - size for _, twice, _ in causes)
            return None if stuck and rest else (rest, terms)
        return None

    def _together(
        self, places: list[int], size: int, others: dict[int, list[int]]
    ) -> tuple[list[int], list[list[Sizes]] | None]:
        """The fewest others with which axes can change, which are one size with them, and the results' shapes then."""

        def seen(some: Sequence[int]) -> list[list[Sizes]] | None:
            return self._seen([*places, *(place for kind in some for place in others[kind])], size)

        few = len(others) if len(others) < 5 else 1
        for some in (some for number in range(1, few + 1) for some in combinations(others, number)):
            if (found := seen(some)) is not None:
                return list(some), found
        # Of many, a stack of patches say, all but those that aren't needed: trying all choices would take too long.
        needed = list(others)
        if few == len(others) or (found := seen(needed)) is None:
            return [], None
        for kind in others:
            rest = [other for other in needed if other != kind]
            if (fewer := seen(rest)) is not None:
                needed, found = rest, fewer
        return needed, found

    def _seen(self, places: list[int], size: int) -> list[list[Sizes]] | None:
        """The results' shapes at twice and three times the size; None where it can't change."""
        for numbers in (False, True):
            seen: list[list[Sizes]] = []
            for one_more, new in ((False, 2 * size), (True, size + 1), (False, 3 * size)):
                sizes = list(self.sizes)
                for place in places:
                    sizes[place] = new
                # A size that is written too, normalized_shape say, changes where it is written.
                shapes = self._at(sizes, {size: new} if numbers else {})
                if shapes is None and not one_more:
                    break
                # What grows evenly to one more needs no third size; what must divide can't be one more.
                if shapes is not None:
                    seen.append(shapes if not one_more else self._even(shapes, seen[0], size))
                if len(seen) == 2:
                    return seen
            # One is a stride, or a number of groups, rather than a size.
            if size not in self.written or size == 1:
                break
        return None

    def _even(self, more: list[Sizes], twice: list[Sizes], size: int) -> list[Sizes]:
        """What the results are at three times the size, if they grow as they do to one more; else no sizes at all."""

        def grown(n: int, m: int, t: int) -> int:
            if (m - n) * size == t - n:
                return n + 2 * (t - n)
            # Two axes of one size, the sides of a patch, in one.
            return 9 * n if t == 4 * n and m * size**2 == n * (size + 1) ** 2 else -1

        return [
            tuple(grown(n, m, t) for n, m, t in zip(*shapes, strict=True))
            for shapes in zip(self.results, more, twice, strict=True)
        ]

    def _at(self, sizes: list[int], numbers: Mapping[int, int]) -> list[Sizes] | None:
        position = 0
        changed: list[Tensor] = []
        for tensor in self.operands:
            shape = sizes[position : position + tensor.ndim]
            position += tensor.ndim
            changed.append(torch.empty(shape, dtype=tensor.dtype, device="meta"))

        def put(value: Any) -> Any:
            if isinstance(value, Tensor):
                return changed[self._places[id(value)]]
            if type(value) is int:
                return numbers.get(value, value)
            if isinstance(value, (tuple, list)):
                return tuple(map(put, value)) if isinstance(value, tuple) else list(map(put, value))
            return value

        try:
            result = self.func(*put(self.args), **{key: put(value) for key, value in self.kwargs.items()})
            shapes = [tuple(tensor.shape) for tensor in tensors_in(result)]
        except Exception:
            return None
        same = [len(shape) for shape in shapes] == [len(shape) for shape in self.results]
        return shapes if same else None
