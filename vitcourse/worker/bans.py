"""The ready-made functions that an exercise builds, closed on every road that torch has to them.

A mode on the level of Python would miss other threads, torch._C and compiled code. So the kernels themselves are
replaced in the worker's process, which ends with the check: whoever calls them, from wherever, gets a Banned.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.library import Library

# Functions whose kernels have other names.
_KERNELS = {
    "scaled_dot_product_attention": ("_scaled_dot_product_flash_attention_for_cpu", "_fused_sdp_choice"),
    "multi_head_attention_forward": ("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    "batch_norm": ("_native_batch_norm_legit", "_batch_norm_impl_index", "_batch_norm_with_update"),
    "rms_norm": ("_fused_rms_norm",),
}
# Where torch keeps its functions once more, written in Python.
_COPIES = ("torch.nn.functional", "torch", "torch._refs", "torch._refs.nn.functional", "torch._decomp.decompositions")


class Banned(RuntimeError):
    """An answer calls what its exercise builds."""


class Bans:
    """From its `close` on, none of the functions can be called in this process; `called` says which one was."""

    def __init__(self) -> None:
        self.called = ""
        self.names: Sequence[str] = ()
        self._kept: list[Any] = []

    def told(self, name: str) -> None:
        """Of a function that Python code calls: Banned, or nothing."""
        if name in self.names:
            self._refusal(name)()

    def close(self, names: Sequence[str]) -> None:
        """Replace the kernels of these functions, and the functions of that name that are written in Python."""
        self.names = names
        wanted = {kernel for name in names for kernel in (name, f"native_{name}", *_KERNELS.get(name, ()))}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that a kernel is replaced: that is meant
            for operator in torch._C._dispatch_get_all_op_names() if names else ():
                name = operator.removeprefix("aten::").partition(".")[0]
                if operator.startswith("aten::") and name in wanted:
                    self._close_kernel(operator, name)
        for module in _COPIES:
            for name in names:
                if module in sys.modules and hasattr(sys.modules[module], name):
                    setattr(sys.modules[module], name, self._refusal(name))

    def _close_kernel(self, operator: str, name: str) -> None:
        composite = "CompositeImplicitAutograd"
        key = composite if torch._C._dispatch_has_kernel_for_dispatch_key(operator, composite) else "CPU"
        library: Any = Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        library.impl(operator.removeprefix("aten::"), self._refusal(name), key, allow_override=True)
        self._kept.append(library)  # the kernel comes back when the library is collected

    def _refusal(self, name: str) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            self.called = self.called or name.removeprefix("native_").lstrip("_")
            raise Banned(f"torch's own {name} may not be called here")

        return refuse
