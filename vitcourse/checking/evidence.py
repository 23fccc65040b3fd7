"""Evidence: whether two observations of one request, or two values in them, are the same."""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitcourse.checking.subjects import Question
from vitcourse.worker.protocol import Part
from vitcourse.worker.workshop import Observation

_ABOUT_SIZES = ("RuntimeError", "EinopsError", "ValueError", "IndexError")


def alike(one: Observation, other: Observation, question: Question) -> bool:
    """Whether nothing that is observed tells the two apart; of random numbers drawn, only whether there were any."""
    request = question.request
    if bool(one.raised) != bool(other.raised) or bool(one.banned) != bool(other.banned):
        return False
    if one.raised and not _same_fault(one.raised, other.raised, question.expects != "error"):
        return False
    naming = question.naming if "ValueError" in one.raised.get("kinds", ()) else ()
    if any(names(one.raised["message"], n) != names(other.raised["message"], n) for n in naming):
        return False
    if one.changed != other.changed or one.left != other.left:
        return False
    if request["do"] == "call" and not one.raised and (one.draws, bool(one.reads)) != (other.draws, bool(other.reads)):
        return False
    if question.expects == "no reads" and one.reads != other.reads:
        return False
    if question.expects == "own memory" and one.shared != other.shared:
        return False
    if request.get("count") and (one.products, one.softmaxes) != (other.products, other.softmaxes):
        return False
    if question.expects in ("start", "start or zeros"):
        return _same_starts(one.result, other.result, most=0.1 if question.expects == "start or zeros" else 0.0)
    mine, others, attached = one.result, other.result, one.attached == other.attached
    if question.expects == "groups":
        mine, others = by_parameter(mine), by_parameter(others)
    if question.expects in ("groups", "own memory"):  # their order is free
        attached = sorted(one.attached) == sorted(other.attached)
    return (
        same(mine, others, question.rtol, question.atol)
        and attached
        and _same_gradients(one.gradients, other.gradients)
        and _same_structure(one.structure, other.structure)
        and _same_things(one.things, other.things)
        and one.events == other.events
    )


def by_parameter(groups: Any) -> Any:
    """Groups of parameters, by the parameter: lr and weight decay, once for each time it stands in one."""
    whole = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
    if not whole or not all(isinstance(group.get("params"), list) for group in groups):
        return groups
    found: dict[str, list[Any]] = {}
    for group in groups:
        for part in group["params"]:
            known = {key: float(group[key]) for key in ("lr", "weight_decay") if type(group.get(key)) in (int, float)}
            found.setdefault(part.name if isinstance(part, Part) else f"a {type(part).__name__}", []).append(known)
    return found


def _same_starts(one: Any, other: Any, most: float) -> bool:
    """Whether what the first holds starts in the same way in both; what is no larger than most is as right as zeros."""
    if not (isinstance(one, dict) and isinstance(other, dict) and one.keys() <= other.keys()):
        return False
    faint = all(float(t.double().pow(2).mean()) <= most**2 for name in one for t in (one[name], other[name]))
    return (most > 0 and faint) or all(begun_alike(value, other[name]) for name, value in one.items())


def _same_fault(one: Mapping[str, Any], other: Mapping[str, Any], words: bool) -> bool:
    """The same type; and the same words, where no error is asked for.

    Of errors about sizes, whose words quote the code, the numbers are what counts.
    """
    if one["type"] != other["type"]:
        return False
    if not words or one["message"] == other["message"]:
        return True
    numbers = [re.findall(r"\d+", re.sub(r"\"[^\"]*\"|\{[^}]*\}", "", fault["message"])) for fault in (one, other)]
    return one["type"] in _ABOUT_SIZES and bool(numbers[0]) and numbers[0] == numbers[1]


def _same_gradients(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        same(own, other[name], 1e-2, 1e-3 * max(1.0, float(own.abs().max()) if isinstance(own, Tensor) else 1.0))
        for name, own in one.items()
    )


def _same_structure(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """What a module holds by the contract's names; how it holds the rest is its own affair.

    The other one, the hypothesis's, has no other names: what it keeps as a plain tensor, the learner's keeps as one.
    """
    if not one or not other:
        return bool(one) == bool(other)
    alike = all(one[key] == other[key] for key in ("parameters", "buffers", "shared"))
    return alike and one["plain"].keys() >= other["plain"].keys() and _agree(one["modes"], other["modes"])


def _same_things(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """What became of what was given: its values, modes, what is trained. A model may have inner parts of its own."""
    return one.keys() == other.keys() and all(
        _agree(own["values"], other[slot]["values"])
        and _agree(own["structure"]["modes"], other[slot]["structure"]["modes"])
        and _agree(own["structure"]["parameters"], other[slot]["structure"]["parameters"])
        for slot, own in one.items()
    )


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """The same under each name that both have."""
    return all(same(value, other[name], 1e-4, 1e-5) for name, value in one.items() if name in other)


def same(one: Any, other: Any, rtol: float, atol: float) -> bool:
    """Whether two results are the same, numbers within the tolerance."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return (
            one.shape == other.shape
            and one.dtype == other.dtype
            and (
                torch.equal(one, other)  # most are, and this is known in a tenth of the time
                or torch.allclose(one.double(), other.double(), rtol=rtol, atol=slack(other, atol), equal_nan=True)
            )
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=rtol, abs_tol=atol) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, tuple | list) and type(one) is type(other):
        return len(one) == len(other) and all(same(a, b, rtol, atol) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], rtol, atol) for key in one)
    return type(one) is type(other) and bool(one == other)


def slack(values: Tensor, atol: float) -> float:
    """The tolerance: in bfloat16 rounding goes with the largest numbers on the way, not with the one that comes out."""
    coarse = values.dtype == torch.bfloat16 and values.numel() > 0
    return max(atol, 0.05 * float(values.nan_to_num(0, 0, 0).abs().max())) if coarse else atol


def names(message: str, number: int) -> bool:
    """Whether a message holds this number."""
    return re.search(rf"(?<!\d){number}(?!\d)", message) is not None


def begun_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two parameters start in the same way: as the same constant, the same table, or the same kind of noise."""
    if one.shape != other.shape:
        return False
    if torch.allclose(one, other):
        return True
    spreads, means = [float(t.double().std()) for t in (one, other)], [float(t.double().mean()) for t in (one, other)]
    if 0 in spreads:
        return False
    scale = max(spreads)
    return min(spreads) > 0.75 * scale and abs(means[0] - means[1]) < 0.6 * scale and flows(one) == flows(other)


def flows(values: Tensor) -> bool:
    """Whether neighbouring rows (…, T, D) go on from one another, as those of a table do and those of noise don't."""
    rows = values.reshape(-1, values.shape[-1]).double()
    return len(rows) > 2 and float((rows[1:] - rows[:-1]).pow(2).mean()) < 1.4 * float(values.double().var())
