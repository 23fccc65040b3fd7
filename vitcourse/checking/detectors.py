"""In what a wrong result is like the right one: a factor, an offset, an order, swapped axes, a few wrong places.

These know nothing of the exercises. They speak only when the likeness is exact within the tolerance; else they are
silent.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

RTOL, ATOL = 1e-3, 1e-5
LONGEST = 256  # indices along an axis that are matched with one another


def likeness(mine: Tensor, expected: Tensor, sizes: Mapping[str, int]) -> str:
    """One sentence on how the two are related, or an empty one. sizes are the check's, by their symbols."""
    mine, expected = mine.detach().double(), expected.detach().double()
    if mine.shape != expected.shape:
        return _as_other_shape(mine, expected)
    if mine.numel() < 2 or not bool(mine.isfinite().all() and expected.isfinite().all()):
        return ""
    detectors: tuple[Callable[[], str], ...] = (
        lambda: _factor(mine, expected, sizes),
        lambda: _offset(mine, expected),
        lambda: _order(mine, expected, sizes),
        lambda: _places(mine, expected, sizes),
    )
    return next((found for detector in detectors if (found := detector())), "")


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=RTOL, atol=ATOL)


def _factor(mine: Tensor, expected: Tensor, sizes: Mapping[str, int]) -> str:
    square = float((expected * expected).sum())
    if square == 0:
        return ""
    factor = float((mine * expected).sum()) / square
    if abs(factor) < 1e-6 or abs(factor - 1) < RTOL or not _close(mine, factor * expected):
        return ""
    if abs(factor + 1) < RTOL:
        return "your values have the wrong sign, and are right otherwise"
    name = _constant(factor, sizes)
    return f"your values are the expected ones times {factor:.4g}{f', which is {name}' if name else ''}"


def _constant(factor: float, sizes: Mapping[str, int]) -> str:
    for symbol, size in sizes.items():
        for name, value in (
            (symbol, float(size)),
            (f"1/{symbol}", 1 / size),
            (f"√{symbol}", math.sqrt(size)),
            (f"1/√{symbol}", 1 / math.sqrt(size)),
        ):
            if size > 1 and abs(factor / value - 1) < 1e-3:
                return name
    return ""


def _offset(mine: Tensor, expected: Tensor) -> str:
    offset = float((mine - expected).mean())
    if abs(offset) > 10 * ATOL and _close(mine, expected + offset):
        return f"your values are the expected ones plus {offset:.4g}, everywhere"
    return ""


def _order(mine: Tensor, expected: Tensor, sizes: Mapping[str, int]) -> str:
    for axis, size in enumerate(expected.shape):
        if 1 < size <= LONGEST:
            one, other = (tensor.movedim(axis, 0).reshape(size, -1) for tensor in (mine, expected))
            found = _matching(one, other)
            if found is not None and found != list(range(size)):
                how = "reversed" if found == list(range(size))[::-1] else f"yours begins with number {found[0]}"
                return f"your values are right, but in another order along {_axis(axis, size, sizes)}: {how}"
    return ""


def _matching(one: Tensor, other: Tensor) -> list[int] | None:
    """Which row of the other each row is, if each is another one."""
    distances = (one[:, None] - other[None]).abs().amax(dim=2)  # (n, n)
    closest = distances.min(dim=1)
    limit = ATOL + RTOL * float(other.abs().max())
    order = [int(index) for index in closest.indices]
    if float(closest.values.max()) > limit or len(set(order)) != len(order):
        return None
    return order


def _places(mine: Tensor, expected: Tensor, sizes: Mapping[str, int]) -> str:
    off = (mine - expected).abs() > ATOL + RTOL * expected.abs()
    for axis, size in enumerate(expected.shape):
        if size < 3:
            continue
        wrong = [int(i) for i in off.movedim(axis, 0).reshape(size, -1).any(dim=1).nonzero().flatten()]
        if 0 < len(wrong) <= size // 3:
            places = ", ".join(map(str, wrong[:5])) + (", …" if len(wrong) > 5 else "")
            return f"only {places} along {_axis(axis, size, sizes)} {'is' if len(wrong) == 1 else 'are'} wrong"
    return ""


def _as_other_shape(mine: Tensor, expected: Tensor) -> str:
    if mine.numel() != expected.numel():
        return ""
    if mine.dim() == expected.dim() <= 5:
        for axes in _permutations(mine, expected):
            if _close(mine.permute(axes), expected):
                return f"the values are right after permute{axes}: axes are swapped"
    if _close(mine.reshape(expected.shape), expected):
        return "the values are right and in the right order; only the shape is not"
    return ""


def _permutations(mine: Tensor, expected: Tensor) -> Iterator[tuple[int, ...]]:
    for axes in itertools.permutations(range(mine.dim())):
        if tuple(mine.shape[axis] for axis in axes) == tuple(expected.shape):
            yield axes


def _axis(axis: int, size: int, sizes: Mapping[str, int]) -> str:
    names = [symbol for symbol, known in sizes.items() if known == size]
    return f"axis {axis} ({names[0]}={size})" if len(names) == 1 else f"axis {axis} (of size {size})"
