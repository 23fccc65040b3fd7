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


class Calls(TorchFunctionMode):
    """Is told the name of each of torch's functions that Python code calls, before it runs."""

    def told(self, name: str) -> None:
        """What to do then."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.told(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


class Reads(Calls):
    """Notes each read of a tensor's value that a line of the learner's own asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def told(self, name: str) -> None:
        """A read, or nothing."""
        if name in _READS and _asked_by_the_learner() and _READS[name] not in self.seen:
            self.seen.append(_READS[name])


class Operations(Calls):
    """Counts the matrix products and the softmaxes that lines of Python ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.softmaxes = 0

    def told(self, name: str) -> None:
        """One more, or none."""
        self.products += name in _PRODUCTS
        self.softmaxes += name in _SOFTMAXES


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A random state of its own; what was before comes back."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would look after each device, which takes longer than a call.
        torch.default_generator.manual_seed(seed)
        yield


def _asked_by_the_learner() -> bool:
    """Whether the line that reads is no line of torch's (an optimizer reads its own step count)."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module not in ("torch._tensor", "torch._tensor_str", "torch.overrides", __name__):
            return not module.startswith("torch.")
        frame = frame.f_back  # type: ignore[assignment]
    return False
