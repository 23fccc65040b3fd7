"""Whether two results are the same value, numbers within a tolerance."""

import math
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
