"""What is said of a wrong answer beside its headline: an example to look at, in what it is like the right one."""

from typing import Any

from vitcourse.checking.check import Check, Run
from vitcourse.checking.examples import holds_when, pairs, shown, smallest
from vitcourse.checking.likeness import relation
from vitcourse.checking.naming import Naming
from vitcourse.checking.subjects import CheckFailedError


def opinion(run: Run, check: Check, error: CheckFailedError, seed: int, naming: Naming | None) -> list[str]:
    """Lines for the diagnosis."""
    lines: list[str] = []
    if naming is None:
        lines.append(_structure(check, error))
        lines.append(holds_when(run, check, seed + 1))
    if error.raised or not _about_values(check):
        return lines
    example = smallest(run, check, seed + 2)
    if example is not None and naming is None:
        lines.append(relation(pairs(run, check, seed + 3)))
    if example is not None:
        lines.append(shown(example))
    return lines


def _about_values(check: Check) -> bool:
    return bool(check.questions) and check.questions[-1].request["do"] == "call"


def _structure(check: Check, error: CheckFailedError) -> str:
    found: Any = check.read["definitions"].get(check.exercise.names[0], {})
    if found and not found["returns"]:
        return f"{check.exercise.names[0]} has no return: what it computes never comes back"
    if found and not found["forward_returns"]:
        return f"forward of {check.exercise.names[0]} has no return: what it computes never comes back"
    return ""
