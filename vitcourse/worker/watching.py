"""What a call does on the way: products and softmaxes, reads of a value that would wait for a GPU, random draws."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_READS = {
    **{name: f".{name}()" for name in ("item", "tolist", "cpu", "numpy")},
    **{"__float__": "float()", "__int__": "int()", "__index__": "int()", "__bool__": "if or bool()"},
    **{"__repr__": "print or repr()", "__format__": "print or an f-string", "__str__": "print or str()"},
}
_PRODUCTS = (
    *("matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "dot", "einsum", "baddbmm", "addmm", "tensordot"),
    *("linear", "scaled_dot_product_attention"),
)
_SOFTMAXES = ("softmax", "exp", "log_softmax", "scaled_dot_product_attention")

Told = Callable[[str], None]


class Calls(TorchFunctionMode):
    """Tells the name of each of torch's functions that Python code calls, before it runs, to all who want to know."""

    def __init__(self, *listening: Told) -> None:
        super().__init__()
        self.listening = listening

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for told in self.listening:
            told(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def reads(seen: list[str]) -> Told:
    """Notes each read of a tensor's value that a line of the learner's own asks for."""

    def told(name: str) -> None:
        if name in _READS and _asked_by_the_learner() and _READS[name] not in seen:
            seen.append(_READS[name])

    return told


def operations(seen: Any) -> Told:
    """Counts in an observation the matrix products and the softmaxes that lines of Python ask for."""

    def told(name: str) -> None:
        seen.products += name in _PRODUCTS
        seen.softmaxes += name in _SOFTMAXES

    return told


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A random state of its own; what was before comes back."""
    # torch.manual_seed and fork_rng would look after each device, which takes longer than a call.
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


def _asked_by_the_learner() -> bool:
    """Whether the line that reads is no line of torch's (an optimizer reads its own step count)."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module not in ("torch._tensor", "torch._tensor_str", "torch.overrides", __name__):
            return not module.startswith("torch.")
        frame = frame.f_back  # type: ignore[assignment]
    return False
