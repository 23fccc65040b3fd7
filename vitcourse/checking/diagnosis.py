"""Which misunderstanding is behind a wrong answer: the known one that behaves exactly like it.

The check runs again on each known wrong answer of the exercise, on the same inputs and weights. The one that fails at
the same point, after the same outputs, is the learner's.
"""

import dataclasses
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vitcourse.checking.check import ATOL, RTOL, Check, CheckFailedError
from vitcourse.checking.misconceptions import Misconception, misconceptions
from vitcourse.codesets import CodeSet, load_code


def likely_cause(run_check: Callable[[Check], None], check: Check, error: CheckFailedError) -> Misconception | None:
    """The known misconception whose wrong answer can't be told from this one; None when none or several are it."""
    matches = []
    for misconception in misconceptions():
        if misconception.exercise == check.exercise.id:
            replay = _replayed(run_check, check, misconception)
            if replay is not None and _alike_failures(error, check, *replay):
                matches.append(misconception)
    return matches[0] if len(matches) == 1 else None


def fresh_check(check: Check, code: CodeSet) -> Check:
    """The same check, from its start, on another set of chapters."""
    torch.manual_seed(0)
    return Check(check.exercise, code, load_code("solutions"))


def _replayed(
    run_check: Callable[[Check], None], check: Check, misconception: Misconception
) -> tuple[CheckFailedError, list[list[Any]]] | None:
    """How the check fails on a known wrong answer, and all that was returned until then."""
    again = fresh_check(check, _Variant.of(misconception))
    try:
        run_check(again)
    except CheckFailedError as error:
        return error, again.transcript
    except Exception:  # a variant that breaks in the check's own code is no likeness of anything
        return None
    return None


def _alike_failures(mine: CheckFailedError, check: Check, other: CheckFailedError, returned: list[list[Any]]) -> bool:
    if mine.headline != other.headline or not _same(returned, check.transcript):
        return False
    # Where no numbers were returned yet, there are only the details to compare: which parameters are missing, say.
    numbers = any(isinstance(note, Tensor | float) for notes in check.transcript for note in notes)
    return numbers or mine.diagnosis == other.diagnosis


def _same(one: list[list[Any]], other: list[list[Any]]) -> bool:
    return len(one) == len(other) and all(
        len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.allclose(
            one.double(), other.double(), rtol=RTOL, atol=ATOL, equal_nan=True
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RTOL, abs_tol=ATOL)
    return type(one) is type(other) and bool(one == other)


@dataclasses.dataclass(frozen=True)
class _Variant(CodeSet):
    """The references, with one chapter that has a mistake in it; nothing of it stands on the disk."""

    chapter: ModuleType

    @classmethod
    def of(cls, misconception: Misconception) -> "_Variant":
        reference = load_code("solutions")
        module = ModuleType("misconception", f"The reference, but: {misconception.name}.")
        module.__package__ = reference.package
        exec(compile(misconception.source(), "<misconception>", "exec"), module.__dict__)
        return cls("misconception", reference.folder, reference.package, module)

    def module(self, module: str) -> ModuleType:
        return self.chapter
