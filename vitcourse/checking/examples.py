"""A check run once more on other inputs: what is said of a wrong answer beside its headline, with an example of it."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitcourse.checking.check import Check, Run
from vitcourse.checking.evidence import same
from vitcourse.checking.subjects import CheckFailedError, Inputs, Question
from vitcourse.checking.wording import as_call, described, farthest
from vitcourse.worker.protocol import Other, Slot
from vitcourse.worker.workshop import Observation, slots_of, tensors_of

SECONDS = 0.4  # that looking for a smaller example may take
MOST = 12  # numbers that are shown of one tensor
SEEN = (2e-3, 2e-4)  # the tolerance beyond which a difference is seen in four digits


class Small(Inputs):
    """Numbers that can be followed by eye, at sizes that are given: 0, 1, 2, … or noise with one decimal."""

    def __init__(self, seed: int, change: Callable[[dict[str, int]], dict[str, int]], plain: bool) -> None:
        super().__init__(seed)
        self.change, self.plain = change, plain

    def sizes(self, given: dict[str, int]) -> dict[str, int]:
        """The check's symbols, with other sizes."""
        return self.change(given)

    def randn(self, shape: tuple[int, ...]) -> Tensor:
        """Numbers to follow."""
        if not self.plain:
            return (super().randn(shape) * 10).round() / 10
        return torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)


def _asked(question: Callable[..., None]) -> Callable[..., None]:
    """The question, asked and left at that, whatever the answer is."""

    def ask(self: Check, *args: Any, **kwargs: Any) -> None:
        with suppress(CheckFailedError, TypeError, ValueError, KeyError):
            question(self, *args, **kwargs)

    return ask


class Onward(Check):
    """Asks what a check asks to its end, whatever the answers are: evidence beyond the first thing that is wrong."""

    def ask(self, request: dict[str, Any], *args: Any, **kwargs: Any) -> Observation:
        """The observation; of a call that raised, with the reference's result, by which the check can go on."""
        seen = super().ask(request, *args, **kwargs)
        if request["do"] == "call" and seen.raised:
            with suppress(Exception):
                return replace(seen, result=self.reference.answer(request).result)
        return seen

    def true(self, *args: Any, **kwargs: Any) -> None:
        """Passed over."""

    close = shape = fine = agree = dropped = true
    same, independent, gradients = _asked(Check.same), _asked(Check.independent), _asked(Check.gradients)
    dtypes, raises = _asked(Check.dtypes), _asked(Check.raises)
    starts, steady = _asked(Check.starts), _asked(Check.steady)

    def pair(self, value: Any, what: str) -> tuple[Any, Any]:
        """The parts of what should be a pair; where it is none, the whole twice."""
        return super().pair(value, what) if isinstance(value, tuple) and len(value) == 2 else (value, value)


class Differs(Exception):
    """The first call at which the learner's answer is not the reference's."""

    def __init__(self, name: str, request: Mapping[str, Any], mine: Observation, right: Observation) -> None:
        super().__init__()
        self.name, self.request, self.mine, self.right = name, request, mine, right

    @property
    def numbers(self) -> int:
        """How many numbers one has to look at."""
        given = tensors_of((self.request["args"], self.request["kwargs"]))
        return sum(tensor.numel() for tensor in (*given, *tensors_of(self.right.result)))


class Comparing(Onward):
    """Asks what a check asks, and compares each result with the reference's; the check's own words are passed over."""

    def ask(self, request: dict[str, Any], *args: Any, **kwargs: Any) -> Observation:
        """The observation; Differs when it is not the reference's."""
        seen = super().ask(request, *args, **kwargs)
        if request["do"] == "call" and kwargs.get("expects") != "error":
            right = self.reference.answer(request)
            if right.raised:
                raise CheckFailedError("the reference can't do this")
            if not seen.raised and self._stands_alone(request) and not same(seen.result, right.result, *SEEN):
                raise Differs(self._called(request), request, seen, right)
        return seen

    def raises(self, *args: Any, **kwargs: Any) -> None:
        """Passed over."""

    def _stands_alone(self, request: Mapping[str, Any]) -> bool:
        """Whether a call can be shown with its numbers: not where a whole model of an earlier chapter is part of it.

        In bfloat16 right answers differ, by rounding, in digits that are shown.
        """
        if any(tensor.dtype == torch.bfloat16 for tensor in tensors_of((request["args"], request["kwargs"]))):
            return False
        made = [q.request["module"] for q in self.questions if q.request["do"] == "make"]
        if isinstance(request["target"], Slot) and any(module != self.exercise.module for module in made):
            return False
        return not slots_of(request["args"])

    def _called(self, request: Mapping[str, Any]) -> str:
        """What is called: a function's name, or a module as it was made."""
        target = request["target"]
        if not isinstance(target, Slot):
            return str(target[1])
        copied = {q.request["new"]: q.request["slot"] for q in self.questions if q.request["do"] == "cast"}
        slot = copied.get(target.name, target.name)
        made = (q.request for q in self.questions if q.request["do"] == "make" and q.request["slot"] == slot)
        return next((as_call(request["name"], (), request["arguments"]) for request in made), "it")


def opinion(run: Run, check: Check, error: CheckFailedError, seed: int) -> str:
    """The smallest example of what is wrong, in lines; empty where there is none to show."""
    about_values = bool(check.questions) and check.questions[-1].request["do"] == "call"
    example = smallest(run, check, seed + 1) if about_values and not error.raised else None
    return shown(example) if example is not None else ""


def onward(run: Run, check: Check, seed: int) -> list[Question]:
    """The questions of a check asked to its end, as far as the answers allow it, on the inputs of that seed."""
    again = Onward(check.exercise, check.learner, check.reference, Inputs(seed), check.read)
    with suppress(Exception):
        run(again)
    return again.questions


def smallest(run: Run, check: Check, seed: int) -> Differs | None:
    """The call with the fewest numbers, among some small sizes, whose result is not the reference's."""
    until = time.monotonic() + SECONDS
    best: Differs | None = None
    for plain in (True, False):
        for change in _changes():
            if time.monotonic() > until:
                break
            found = _difference(run, check, Small(seed, change, plain))
            if found is not None and (best is None or found.numbers < best.numbers):
                best = found
        if best is not None:
            break
    return best


def shown(found: Differs) -> str:
    """The example in lines: the call with its numbers, what is expected, and what came."""
    request, lines = found.request, []
    tensors = [argument for argument in request["args"] if isinstance(argument, Tensor)]
    lines.append(f"for example, {as_call(found.name, tuple(request['args']), request['kwargs'])}")
    for number, tensor in enumerate(tensors, start=1):
        if tensor.numel() <= MOST:
            lines.append(f"  {'input' if len(tensors) == 1 else f'input {number}'}  {numbers(tensor)}")
    mine, right = _results(found.mine.result), _results(found.right.result)
    small = isinstance(found.right.result, Tensor) and found.right.result.numel() <= MOST
    if not right or (small and not mine):
        lines += [f"  expected  {_told(found.right.result)}", f"  yours     {_told(found.mine.result)}"]
        return "\n".join(lines)
    for name, expected in right.items():
        own = mine.get(name)
        if own is not None and same(own, expected, *SEEN):
            continue
        what = "" if len(right) == 1 else f" ({name})"
        where, own_part, expected_part = _part(own, expected)
        told = (numbers(expected_part), "nothing" if own_part is None else numbers(own_part))
        if own is not None and own.dtype != expected.dtype:
            where, told = "", (str(expected.dtype), str(own.dtype))
        return "\n".join([*lines, f"  expected{what}{where}  {told[0]}", f"  yours{what}{where}     {told[1]}"])
    lines += [f"  expected  {described(found.right.result)}", f"  yours     {described(found.mine.result)}"]
    return "\n".join(lines)


def _told(result: Any) -> str:
    """A result, which may be a tensor or not: by its number alone, 1.0 and a tensor of 1.0 look alike."""
    if isinstance(result, Tensor):
        return f"a tensor of {numbers(result)}"
    return described(result) if isinstance(result, Other) else str(result)


def _results(result: Any) -> dict[str, Tensor]:
    """The tensors of what came back, by their names or else by their numbers."""
    if isinstance(result, Mapping) and all(isinstance(part, Tensor) for part in result.values()):
        return {str(name): part for name, part in result.items()}
    return {f"result {number}": part for number, part in enumerate(tensors_of(result), start=1)}


def numbers(tensor: Tensor) -> str:
    """A tensor's numbers on one line, as short as they can be."""

    def told(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(told(part) for part in value)}]"
        return f"{value + 0.0:.4g}" if isinstance(value, float) else str(value)

    return told(tensor.detach().tolist())


def _part(own: Tensor | None, expected: Tensor) -> tuple[str, Tensor | None, Tensor]:
    """The whole, or the row in which the two differ most."""
    if own is None or own.shape != expected.shape or expected.numel() <= MOST or expected.dim() < 1:
        return "", own, expected
    *row, last = farthest(own, expected)
    first = max(0, last - MOST + 1)
    where = f" at [{', '.join(map(str, row))}{', ' if row else ''}{first or ''}:]"
    return where, own[(*row,)][first : first + MOST], expected[(*row,)][first : first + MOST]


def _difference(run: Run, check: Check, inputs: Inputs) -> Differs | None:
    again = Comparing(check.exercise, check.learner, check.reference, inputs, check.read)
    check._slots += 1000  # names that nothing has yet
    again._slots = check._slots
    try:
        run(again)
    except Differs as found:
        return found
    except Exception:
        pass  # these sizes don't suit the check
    return None


def _changes() -> Iterator[Callable[[dict[str, int]], dict[str, int]]]:
    """Ways to make sizes smaller, the smallest first."""
    yield lambda given: dict.fromkeys(given, 1)
    yield lambda given: {symbol: 1 if symbol == "B" else 2 for symbol in given}
    for most in (2, 3, 4):
        yield lambda given, most=most: {s: 1 if s == "B" else min(size, most) for s, size in given.items()}  # type: ignore[misc]
    yield lambda given: dict(zip(given, itertools.cycle((1, 2, 3, 2)), strict=False))
    yield lambda given: {symbol: 4 if symbol in ("D", "d_model") else min(size, 2) for symbol, size in given.items()}
    yield lambda given: {symbol: 1 if symbol == "B" else size for symbol, size in given.items()}
    yield lambda given: given
