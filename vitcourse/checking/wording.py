"""In which words a check tells a value, a call, a difference."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitcourse.checking.evidence import flows
from vitcourse.worker.protocol import Other, Part, Slot


def begun(values: Tensor, least: float, most: float) -> tuple[str, str]:
    """In what first values (…, T, D) are no small noise, and why that is bad, in words; empty where they are."""
    mean, spread = float(values.mean()), float(values.std())
    if spread == 0 and (mean != 0 or least > 0):
        return f"as the constant {mean:.4g}, everywhere the same", "Then nothing tells the places apart."
    off = 5 * spread / values.numel() ** 0.5 if least else max(0.02, spread)  # that chance alone may give
    if not least <= spread <= most or abs(mean) > off:
        why = "Noise that is too large drowns the patches." if spread > most else ""
        return f"with mean {mean:.2g} and standard deviation {spread:.2g}", why
    if flows(values):
        return "as a table whose rows go on from one another, such as the sinusoids", ""
    return "", ""


def as_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as one would type it, with shapes for tensors; of many by name, the first."""
    words = [_as_typed(arg) for arg in args]
    words += [f"{key}={_as_typed(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(words)})"


def _as_typed(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, Slot):
        return "model"  # the one thing in the worker that an example's call is handed
    if isinstance(value, Mapping) and any(isinstance(part, Tensor) for part in value.values()):
        key, part = next(iter(value.items()))
        return f"{{{key!r}: {_as_typed(part)}{f', … {len(value) - 1} more' if len(value) > 1 else ''}}}"
    return repr(value)


def difference(mine: Tensor, expected: Tensor) -> str:
    """Where two tensors differ most, and what stands there."""
    if mine.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, yours {tuple(mine.shape)}"
    mine, expected = mine.double(), expected.double()
    if not torch.isfinite(mine).all() and torch.isfinite(expected).all():
        if mine.numel() == 1:
            return f"it is {float(mine)}"
        return f"{int((~torch.isfinite(mine)).sum())} of {mine.numel()} values are not finite (nan or inf)"
    at = farthest(mine, expected)
    where = f", at {at}," if at and mine.numel() > 1 else ""
    return f"expected{where} {float(expected[at]) + 0.0:.6g}, yours {float(mine[at]) + 0.0:.6g}"


def farthest(mine: Tensor, expected: Tensor) -> tuple[int, ...]:
    """The place at which two tensors of one shape differ most."""
    off = (mine.double() - expected.double()).abs().nan_to_num(float("inf"))
    return tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))


def no_tensor(what: str, value: Any) -> str:
    """That something should be a tensor, and what it is."""
    if value is None:
        return f"{what} is None: a return is missing"
    return f"{what} is no tensor but {described(value)}"


def described(value: Any) -> str:
    """What a value is, in words: "a list of 3"."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if isinstance(value, Other):
        return f"{article(value.kind)}{' (yield makes one, and brackets round a for do)' * (value.kind == 'generator')}"
    if isinstance(value, Part):
        return f"the parameter {value.name} itself"
    return "None" if value is None else article(type(value).__name__)


def article(kind: str) -> str:
    """A kind with its article: "an int"."""
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def word(dtype: torch.dtype) -> str:
    """A dtype's own name: "float32"."""
    return str(dtype).removeprefix("torch.")
