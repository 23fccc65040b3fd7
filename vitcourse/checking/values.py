"""Whether two results are the same value, numbers within a tolerance; and what first values and messages hold."""

import math
import re
from typing import Any

import torch
from torch import Tensor


def same(one: Any, other: Any, rtol: float, atol: float) -> bool:
    """Whether two results are the same, numbers within the tolerance."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return (
            one.shape == other.shape
            and one.dtype == other.dtype
            and torch.allclose(one.double(), other.double(), rtol=rtol, atol=atol, equal_nan=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=rtol, abs_tol=atol) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, tuple | list) and type(one) is type(other):
        return len(one) == len(other) and all(same(a, b, rtol, atol) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], rtol, atol) for key in one)
    return type(one) is type(other) and bool(one == other)


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
