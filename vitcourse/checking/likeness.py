"""In what a wrong result is like the right one: another shape, a factor, an offset, an order.

These know nothing of the exercises. What they say of numbers is said only when it holds for several unlike inputs.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

LIKE_RTOL, LIKE_ATOL = 1e-3, 1e-5
LONGEST = 256  # indices along an axis that are matched with one another

Pairs = Sequence[tuple[Tensor, Tensor]]


def likeness(mine: Tensor, expected: Tensor) -> str:
    """One sentence on how a result of the wrong shape is like the right one, or an empty one."""
    if mine.shape == expected.shape or mine.numel() != expected.numel() or mine.numel() < 2:
        return ""
    mine, expected = mine.detach().double(), expected.detach().double()
    if mine.dim() == expected.dim() <= 5:
        for axes in itertools.permutations(range(mine.dim())):
            if mine.permute(axes).shape == expected.shape and _close(mine.permute(axes), expected):
                return f"the values are right after permute{axes}: axes are exchanged"
    if _close(mine.reshape(expected.shape), expected):
        return "the values are right and in the right order; only the shape is not"
    return ""


def relation(pairs: Pairs) -> str:
    """One sentence that holds for every pair of a result and the right one, or an empty one. Two pairs at the least."""
    pairs = [(mine.detach().double(), expected.detach().double()) for mine, expected in pairs]
    if len(pairs) < 2 or any(mine.shape != expected.shape or mine.numel() < 2 for mine, expected in pairs):
        return ""
    if not all(bool(mine.isfinite().all() and expected.isfinite().all()) for mine, expected in pairs):
        return ""
    if all(_close(mine, torch.zeros_like(mine)) for mine, _ in pairs):
        return "your values are all 0"
    return _factor(pairs) or _offset(pairs) or _order(pairs)


def _factor(pairs: Pairs) -> str:
    factors = []
    for mine, expected in pairs:
        square = float((expected * expected).sum())
        factor = float((mine * expected).sum()) / square if square else 0.0
        if abs(factor) < 1e-6 or not _close(mine, factor * expected):
            return ""
        factors.append(factor)
    if max(factors) - min(factors) > LIKE_RTOL * max(map(abs, factors)):
        return "your values are the expected ones times a factor that changes with the sizes"
    factor = factors[0]
    if abs(factor - 1) < LIKE_RTOL:
        return ""
    if abs(factor + 1) < LIKE_RTOL:
        return "your values have the wrong sign, and are right otherwise"
    named = {0.5: ": half of them", 2.0: ": twice as large"}.get(round(factor, 3), "")
    return f"your values are the expected ones times {factor:.4g}, whatever the input{named}"


def _offset(pairs: Pairs) -> str:
    offsets = [float((mine - expected).mean()) for mine, expected in pairs]
    if max(offsets) - min(offsets) > 10 * LIKE_ATOL or abs(offsets[0]) < 10 * LIKE_ATOL:
        return ""
    if all(_close(mine, expected + offsets[0]) for mine, expected in pairs):
        return f"your values are the expected ones plus {offsets[0]:.4g}, everywhere"
    return ""


def _order(pairs: Pairs) -> str:
    axes = range(min(expected.dim() for _, expected in pairs))
    for axis in axes:
        found = [_matching(*(t.movedim(axis, 0).reshape(t.shape[axis], -1) for t in pair)) for pair in pairs]
        if all(order is not None for order in found) and any(order != sorted(order or []) for order in found):
            turned = all(order == sorted(order or [], reverse=True) for order in found)
            return f"your values are right, but in another order along axis {axis}{': reversed' if turned else ''}"
    return ""


def _matching(one: Tensor, other: Tensor) -> list[int] | None:
    """Which row of the other each row is, if each is another one."""
    if not 1 < len(one) <= LONGEST:
        return None
    closest = (one[:, None] - other[None]).abs().amax(dim=2).min(dim=1)  # (n, n) -> (n)
    order = [int(index) for index in closest.indices]
    if float(closest.values.max()) > LIKE_ATOL + LIKE_RTOL * float(other.abs().max()) or len(set(order)) != len(order):
        return None
    return order


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=LIKE_RTOL, atol=LIKE_ATOL)
