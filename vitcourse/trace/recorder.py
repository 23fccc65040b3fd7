"""Watches a call: every torch function that it uses, and what returns to the lines that are shown.

Nothing is patched, nothing is put in the place of anything, and nothing outlives the call: torch hands its functions to
a function mode, and Python tells of returns through its profile hook. What the traced code sees is what it sees alone.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitcourse.trace.names import parts
from vitcourse.trace.source import COMPREHENSIONS, readable

SEQUENTIAL = nn.Sequential.forward.__code__
# Questions about a tensor: they are no steps, and their answers no tensors.
_QUESTIONS = """
    dtype device ndim dim requires_grad is_leaf grad_fn layout is_nested is_sparse is_quantized is_meta is_cuda
    is_cpu is_mps stride is_floating_point is_complex is_contiguous element_size storage_offset data_ptr names
    register_hook
    _backward_hooks __len__ __bool__ __float__ numpy __repr__ __format__ __hash__ output_nr _version itemsize nbytes
    __contains__ __array__ is_inference get_device is_grad_enabled shape size numel nelement _set_grad_enabled
    set_grad_enabled sym_size
"""
QUESTIONS = frozenset(_QUESTIONS.split())
# What makes sizes of data: numbers that are read, functions that count, and those that ask where something is true.
READS = frozenset(("item", "tolist", "__int__", "__index__"))
COUNTING = frozenset(("unique_consecutive", "_return_output", "_return_inverse", "_return_counts", "unique", "bincount",
                      "repeat_interleave"))  # fmt: skip
WHERE = frozenset(("nonzero", "argwhere", "masked_select"))
DECIDING = READS | COUNTING | WHERE | {"where", "__getitem__"}
# What only lays numbers out anew, in their order.
RESHAPES = frozenset(("reshape", "view", "flatten", "unflatten", "view_as", "reshape_as"))
# What puts tensors one after another, and what puts them beside one another as well.
JOINS = frozenset(("cat", "concat", "concatenate"))
STACKS = frozenset(("stack", "hstack", "vstack", "dstack"))
# Of a number these take no size.
_SCALAR = "add sub mul div truediv floordiv remainder pow radd rsub rmul rdiv rfloordiv rpow eq ne lt le gt ge"
SCALAR = frozenset(form for word in _SCALAR.split() for form in (word, f"{word}_", f"__{word}__")) | {"__getitem__"}
# Functions that spread their operands to one shape.
_SPREADING = """
    add sub mul truediv div radd rsub rmul rtruediv where lerp eq ne lt le gt ge iadd isub imul idiv maximum minimum
    mse_loss l1_loss smooth_l1_loss huber_loss masked_fill addcmul addcdiv
"""
SPREADING = frozenset(_SPREADING.split())
# Kernels that read past the end of a tensor that is too short, instead of refusing it.
UNCHECKED = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))
NUMBERS = frozenset((int, float))
# What has no parts.
PLAIN = frozenset((type(None), bool, int, float, str))
Sizes = tuple[int, ...]
# What a function of torch is called, and the sizes of its results.
Step = tuple[Any, ...]
# A tensor by the step that made it and its place among that step's results.
Ref = tuple[int, int]
Kind = tuple[torch.dtype, torch.device]
# A tensor, the step that made it (-1: nobody saw it being made), and of what kind it is.
Entry = tuple[Callable[[], Tensor | None], Ref, Kind]


class Watch(TorchFunctionMode):
    """The steps of one run, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.opaque = False
        # While a tracer works beside the traced code, nothing is a step.
        self.busy = False
        self.base: FrameType | None = None
        self._known: dict[int, Entry] = {}
        self._names: dict[Any, str] = {}
        self._shown: dict[int, tuple[CodeType, bool, bool]] = {}
        self._compiled: FrameType | None = None
        self._handler = type(self).__torch_function__.__code__

    def note(self, name: str, tensors: list[Tensor]) -> int:
        """Add a step with its results, and return its number."""
        serial = len(self.steps)
        self.steps.append((name, *map(sizes_of, tensors)))
        self.remember(tensors, serial)
        return serial

    def remember(self, tensors: list[Tensor], serial: int) -> None:
        """Keep which step made which tensor."""
        for place, tensor in enumerate(tensors):
            self._known[id(tensor)] = (weakref.ref(tensor), (serial, place), (tensor.dtype, tensor.device))

    def one(self, name: str, tensor: Tensor) -> Entry:
        """Add a step with one result, which is what most are: the same in less time."""
        ref = len(self.steps), 0
        self.steps.append((name, tensor.shape))
        entry = self._known[id(tensor)] = weakref.ref(tensor), ref, (tensor.dtype, tensor.device)
        return entry

    def entry(self, tensor: Tensor) -> Entry:
        """What is known of a tensor."""
        entry = self._known.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return weakref.ref(tensor), (-1, 0), (tensor.dtype, tensor.device)
        return entry

    def known(self, tensor: Tensor) -> Ref | None:
        """The step that made a tensor; None for a tensor that the run found ready."""
        ref = self.entry(tensor)[1]
        return ref if ref[0] >= 0 else None

    def name(self, func: Callable[..., Any]) -> str:
        """What a function of torch is called; empty for a question."""
        name = self._names.get(func)
        if name is None:
            name = str(getattr(func, "__name__", None) or getattr(func, "name", ""))
            if name == "__get__":
                name = str(getattr(getattr(func, "__self__", None), "__name__", name))
            elif name == "__set__":
                name = ""
            name = self._names[func] = "" if name in QUESTIONS else name
        return name

    def info(self, code: CodeType) -> tuple[CodeType, bool, bool]:
        """A piece of code, which keeps its id its own; whether its steps are shown; whether it is a comprehension."""
        info = self._shown.get(id(code))
        if info is None:
            shown = code is SEQUENTIAL or readable(code.co_filename)
            info = self._shown[id(code)] = (code, shown, code.co_name in COMPREHENSIONS)
        return info

    def hook(self, frame: FrameType, event: str, value: Any) -> None:
        """Told of every call and return while the run goes on."""
        if event == "return":
            if frame.f_code is self._handler:
                return
            if self._compiled is not None:
                quietly(self._aside_ended, frame, value)
            if self._compiled is None and (back := frame.f_back) is not None and back is not self.base:
                _, shown, _ = self._shown.get(id(back.f_code)) or self.info(back.f_code)
                if shown:
                    quietly(self.returned, frame, back, value)
        elif event == "call" and frame.f_code.co_name == "compile_wrapper" and self._compiled is None:
            # Compiled code runs as one piece: while it does, the mode steps aside.
            self._compiled, self.opaque = frame, True
            torch._C._pop_torch_function_stack()

    def _aside_ended(self, frame: FrameType, value: Any) -> None:
        if frame is self._compiled:
            self._compiled = None
            torch._C._push_on_torch_function_stack(self)
            self.ended(frame, value)

    def ended(self, frame: FrameType, value: Any) -> None:
        """A compiled function has returned: it is one step."""
        self.note("compiled", tensors_in(value))

    def returned(self, frame: FrameType, back: FrameType, value: Any) -> None:
        """Something was returned to a line that is shown. Where nobody saw its tensors being made, it is one step."""
        if value is None or self.info(frame.f_code)[1] or frame.f_code.co_name.startswith("__"):
            return
        unseen = [t for t in tensors_in(value) if self.known(t) is None and not isinstance(t, nn.Parameter)]
        if unseen:
            self.opaque = True
            self.unseen(frame, back, unseen)

    def unseen(self, frame: FrameType, back: FrameType, tensors: list[Tensor]) -> None:
        """Note what can't be looked into."""
        self.note("opaque", tensors)


def quietly(work: Callable[..., Any], *args: Any) -> Any:
    """What the tracer does beside the traced code never raises into it; what fails leaves a row out."""
    try:
        return work(*args)
    except Exception:
        if strict:
            raise
        return None


strict = False


def decides(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the sizes of what a function gives depend on the numbers in its tensors."""
    if name == "__getitem__":
        if type(args[1]) is int:
            return False
        for part in args[1] if isinstance(args[1], tuple) else args[1:]:
            if isinstance(part, slice) and (isinstance(part.start, Tensor) or isinstance(part.stop, Tensor)):
                return True
            if isinstance(part, Tensor) and part.dtype in (torch.bool, torch.uint8):
                return True
        return False
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name == "repeat_interleave":
        return len(args) + len(kwargs) == 1 or bool(tensors_of((*args[1:], *kwargs.values())))
    return name in DECIDING


def sizes_of(tensor: Tensor) -> Sizes:
    """A tensor's sizes; -1 for an axis that has none: its parts differ."""
    if not tensor.is_nested:
        return tuple(tensor.shape)
    sizes = []
    for axis in range(tensor.dim()):
        try:
            sizes.append(size if type(size := tensor.size(axis)) is int else -1)
        except RuntimeError:
            sizes.append(-1)
    return tuple(sizes)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a result, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if value is None or isinstance(value, (int, float, str)):
        return []
    return [part for _, part in parts(value, "") if isinstance(part, Tensor)]


def named_results(value: Any) -> list[Tensor]:
    """The tensors of what a call returned; those of a dict by their names, since its order says nothing."""
    return tensors_in(dict(sorted(value.items())) if isinstance(value, dict) else value)


def tensors_of(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among a function's arguments."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += tensors_of(value)
    return found


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same arguments, with something else in the place of each."""
    if isinstance(value, (tuple, list)):
        items = [mapped(item, change) for item in value]
        return type(value)(items) if type(value) in (tuple, list) else tuple(items)
    return {key: mapped(item, change) for key, item in value.items()} if type(value) is dict else change(value)
