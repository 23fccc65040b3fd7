"""Watches a call: every torch function that it uses, and the expression that asked for it.

Nothing is patched and nothing outlives the call: torch hands its functions to a function mode, Python tells of calls
and returns through its profile hook, and while the call runs the sizes it asks for are ints that know their symbol.
"""

import ast
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
from einops.einops import reduce as einops_reduce
from einops.layers.torch import Rearrange, Reduce
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitcourse.trace.contracts import AMBIGUOUS_ATTRIBUTES, HYPERPARAMETERS
from vitcourse.trace.patterns import einops_axes
from vitcourse.trace.rules import Axes, Call, axes_of_result, named_sizes
from vitcourse.trace.source import COMPREHENSIONS, Place, place_of, readable
from vitcourse.trace.symbols import Scope, constant, named_int

_EINOPS = {einops_reduce.__code__: "function", Rearrange.forward.__code__: "layer", Reduce.forward.__code__: "layer"}
_PARAMETERS = {nn.Parameter.__new__.__code__, nn.Buffer.__new__.__code__}
_SEQUENTIAL = nn.Sequential.forward.__code__
# Questions about a tensor: they are no steps, and their answers no tensors.
_QUESTIONS = {
    "dtype", "device", "ndim", "dim", "requires_grad", "is_leaf", "grad_fn", "layout", "is_nested", "is_sparse",
    "is_quantized", "is_meta", "is_cuda", "is_cpu", "is_mps", "stride", "is_floating_point", "is_complex",
    "is_contiguous", "element_size", "storage_offset", "data_ptr", "names", "backward", "register_hook",
    "_backward_hooks",
    "__len__", "__bool__", "__float__", "__int__", "item", "tolist", "numpy", "__repr__", "__format__", "__hash__",
    "output_nr", "_version", "itemsize", "nbytes", "__index__", "__contains__", "__array__", "is_inference",
    "get_device",
    "is_grad_enabled", "_set_grad_enabled", "set_grad_enabled",
}  # fmt: skip
_SIZES = {"shape", "size", "numel", "nelement"}

strict = False


class CompiledCodeError(TypeError):
    """Compiled code was to be traced: it runs as one piece, with no Python steps to see."""


@dataclass
class Node:
    """A step of the traced code while it is being recorded."""

    place: Place
    op: str
    start: int
    axes: tuple[Axes, ...] = ()
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    dtype_before: torch.dtype | None = None
    device_before: torch.device | None = None
    children: list["Node"] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    end: int = 0
    module: int | None = None
    key: tuple[int, int] = (0, 0)
    tensors: bool = False


@dataclass
class CodeInfo:
    """What is known of a piece of code."""

    code: CodeType
    shown: bool
    comprehension: bool
    pattern: bool
    parameter: bool


@dataclass
class Open:
    """An expression that is being evaluated: its frame, the place in it, and its step."""

    frame: FrameType
    lasti: int
    node: Node


class Recorder(TorchFunctionMode):
    """Runs one call and keeps the steps it took."""

    def __init__(self, also_shown: set[str] | None = None) -> None:
        super().__init__()
        self.scope = Scope()
        self.root = Node(Place("", 0, ""), "", 0)
        self.failed: tuple[Place, str, list[tuple[str, Axes]], BaseException] | None = None
        self.module_names: dict[int, str] = {}
        self._also_shown = also_shown or set()
        self._known: dict[int, tuple[weakref.ref[Tensor], Axes, int]] = {}
        self._codes: dict[int, CodeInfo] = {}
        self._open: list[Open] = []
        self._expressions: dict[int, str] = {}
        self._serial = 0
        self._base: FrameType | None = None
        self._pattern: tuple[FrameType, Axes | None] | None = None
        self._active = False
        self._busy = False

    # Axes of tensors

    def axes(self, tensor: Tensor) -> Axes:
        """What is known of a tensor's axes."""
        entry = self._known.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            return entry[1]
        with torch._C.DisableTorchFunction():
            sizes = tuple(tensor.shape)
        return self.note(tensor, tuple(self.scope.fresh(n) for n in sizes))

    def note(self, tensor: Tensor, axes: Axes | None, serial: int = -1) -> Axes:
        """Remember a tensor's axes; those that don't fit its shape are not believed."""
        with torch._C.DisableTorchFunction():
            sizes = tuple(tensor.shape)
        if axes is None or len(axes) != len(sizes) or any(a.value != n for a, n in zip(axes, sizes, strict=True)):
            axes = tuple(self.scope.fresh(n) for n in sizes)
        self._known[id(tensor)] = (weakref.ref(tensor), axes, serial)
        return axes

    def next_serial(self) -> int:
        """A number for the next step: later steps have larger ones."""
        self._serial += 1
        return self._serial

    def _maker(self, tensor: Tensor) -> int:
        entry = self._known.get(id(tensor))
        return entry[2] if entry is not None and entry[0]() is tensor else -1

    # Running

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function and record its steps. What it raises, it raises here."""
        self._base = sys._getframe()
        before = sys.getprofile()
        try:
            with self:
                self._active = True
                sys.setprofile(self._profile)
                try:
                    return function(*args, **kwargs)
                except CompiledCodeError:
                    raise
                except Exception as error:
                    sys.setprofile(before)
                    self._locate(error)
                    raise
                finally:
                    self._active = False
                    sys.setprofile(before)
        finally:
            for left in reversed(self._open):
                self._close(left)
            self._open.clear()
            self._base = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name in _QUESTIONS or not self._active:
            return func(*args, **kwargs)
        frame = sys._getframe(1)
        self._busy = True
        try:
            return self._watched(frame, name, func, args, kwargs)
        finally:
            self._busy = False

    def _watched(
        self, frame: FrameType, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        if name in _SIZES:
            result = func(*args, **kwargs)
            call = Call(name, args, kwargs, result, self.scope, self.axes)
            named = self.ruled(lambda: named_sizes(name, call))
            return result if named is None else named
        try:
            result = func(*args, **kwargs)
        except Exception as error:
            self._failed_in(frame, name, args, kwargs, error)
            raise
        tensors = tensors_in(result)
        if tensors or name == "__setitem__":
            self._step(frame, name, args, kwargs, result, tensors)
        return result

    def ruled(self, rule: Callable[[], Any]) -> Any:
        try:
            return rule()
        except Exception:
            # A call in a form that the rule doesn't know: then nothing is certain about its result.
            if strict:
                raise
            return None

    def _step(
        self, frame: FrameType, name: str, args: tuple[Any, ...], kwargs: Any, result: Any, tensors: list[Tensor]
    ) -> None:
        serial = self.next_serial()
        operands = list(_operands(args)) + list(_operands(kwargs.values()))
        makers = [self._maker(tensor) for tensor in operands]
        path, pattern = self._path(frame)
        if pattern is not None:
            found = self._einops(pattern)
            for tensor in tensors:
                self.note(tensor, found, serial)
        elif tensors:
            call = Call(name, args, kwargs, result, self.scope, self.axes)
            axes = self.ruled(lambda: axes_of_result(call))
            each = axes if isinstance(axes, list) else [axes] * len(tensors)
            each = each if len(each) >= len(tensors) else [None] * len(tensors)
            for tensor, own in zip(tensors, each, strict=False):
                if own is None and any(tensor is operand for operand in operands):
                    own = self.axes(tensor)
                self.note(tensor, own, serial)
        if not path:
            return
        direct = path[-1][0] is frame
        parent = self._descend(path[:-1] if direct else path)
        node = parent
        if direct:
            outer, lasti = path[-1]
            node = Node(self._place(outer, lasti), name.strip("_") or name, serial, key=(id(outer.f_code), lasti))
            parent.children.append(node)
            shown = tensors or [args[0]]
            self._finish(node, shown)
            node.end = serial
        for tensor, maker in zip(operands, makers, strict=True):
            for opened in [*(entry.node for entry in self._open), *([node] if direct else [])]:
                if maker < opened.start and maker >= 0 and maker not in opened.sources:
                    opened.sources.append(maker)
                if opened.dtype_before is None and maker < opened.start:
                    opened.dtype_before, opened.device_before = _kind(tensor)

    def _finish(self, node: Node, tensors: list[Tensor]) -> None:
        node.axes = tuple(self.axes(tensor) for tensor in tensors)
        node.dtype, node.device = _kind(tensors[0])
        node.tensors = True
        for tensor in tensors:
            self._expressions[self._maker(tensor)] = node.place.text

    # Frames

    def _info(self, code: CodeType) -> CodeInfo:
        info = self._codes.get(id(code))
        if info is None:
            shown = code is _SEQUENTIAL or readable(code.co_filename) or code.co_filename in self._also_shown
            kinds = code.co_name in COMPREHENSIONS, code in _EINOPS, code in _PARAMETERS
            info = self._codes[id(code)] = CodeInfo(code, shown, *kinds)
        return info

    def _path(self, frame: FrameType) -> tuple[list[tuple[FrameType, int]], FrameType | None]:
        """The shown expressions that are being evaluated, outermost first, and the einops call under them."""
        path: list[tuple[FrameType, int]] = []
        pattern: FrameType | None = None
        inside = False
        current: FrameType | None = frame
        while current is not None and current is not self._base:
            info = self._info(current.f_code)
            if info.shown:
                if not inside:
                    path.append((current, current.f_lasti))
                inside = info.comprehension
            elif info.pattern and not path:
                pattern = current
            current = current.f_back
        path.reverse()
        return path, pattern

    def _descend(self, path: list[tuple[FrameType, int]]) -> Node:
        """Open the steps on a path that are not open yet, close those that are left, and return the innermost."""
        same = 0
        while (
            same < len(path)
            and same < len(self._open)
            and self._open[same].frame is path[same][0]
            and self._open[same].lasti == path[same][1]
        ):
            same += 1
        for left in reversed(self._open[same:]):
            self._close(left)
        del self._open[same:]
        for frame, lasti in path[same:]:
            parent = self._open[-1].node if self._open else self.root
            node = Node(self._place(frame, lasti), "", self._serial, key=(id(frame.f_code), lasti))
            parent.children.append(node)
            self._open.append(Open(frame, lasti, node))
        return self._open[-1].node if self._open else self.root

    def _close(self, left: Open) -> None:
        left.node.end = self._serial

    def _place(self, frame: FrameType, lasti: int) -> Place:
        if frame.f_code is _SEQUENTIAL:
            container, module = frame.f_locals["self"], frame.f_locals.get("module")
            found = next((name for name, child in container._modules.items() if child is module), "?")
            kind = type(module).__name__
            return Place(frame.f_code.co_filename, 0, f"[{found}] {kind}", callee=kind)
        return place_of(frame, lasti)

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if self._busy:
            return
        if event == "return":
            back = frame.f_back
            if isinstance(arg, Tensor) and self._info(frame.f_code).parameter:
                data = frame.f_locals.get("data")
                if isinstance(data, Tensor) and id(data) in self._known:
                    self.note(arg, self.axes(data))
            for i in range(len(self._open) - 1, -1, -1):
                opened = self._open[i]
                if opened.frame is back and opened.lasti == back.f_lasti:
                    self._returned(i, frame, arg)
                    break
        elif event == "call":
            info = self._info(frame.f_code)
            if info.code.co_name == "compile_wrapper" and "_dynamo" in info.code.co_filename:
                raise CompiledCodeError(COMPILED.format(what="a function that the traced code calls"))

    def _returned(self, position: int, frame: FrameType, value: Any) -> None:
        for left in reversed(self._open[position:]):
            self._close(left)
        node = self._open[position].node
        del self._open[position:]
        if frame.f_code.co_name in ("_wrapped_call_impl", "_call_impl"):
            module = frame.f_locals.get("self")
            node.op, node.module = type(module).__name__, id(module)
        else:
            # torch's wrapper round __rpow__ and its kin is called "wrapped"; the name is that of what it wraps.
            inner = frame.f_locals.get("f") if frame.f_code.co_name == "wrapped" else None
            node.op = str(getattr(inner, "__name__", frame.f_code.co_name)).strip("_")
        tensors = tensors_in(value)
        if tensors:
            self._finish(node, tensors)

    # Einops

    def _einops(self, frame: FrameType) -> Axes | None:
        if self._pattern is None or self._pattern[0] is not frame:
            self._pattern = (frame, self.ruled(lambda: self._einops_axes(frame)))
        return self._pattern[1]

    def _einops_axes(self, frame: FrameType) -> Axes | None:
        values = frame.f_locals
        if _EINOPS[frame.f_code] == "layer":
            layer = values["self"]
            return einops_axes(self.scope, self.axes(values["input"]), layer.pattern, layer.axes_lengths)
        tensor = values["tensor"]
        axes = self.axes(tensor[0] if isinstance(tensor, list) else tensor)
        if isinstance(tensor, list):
            axes = (constant(len(tensor)), *axes)
        return einops_axes(self.scope, axes, values["pattern"], values["axes_lengths"])

    # Errors

    def _failed_in(self, frame: FrameType, name: str, args: tuple[Any, ...], kwargs: Any, error: BaseException) -> None:
        path, _ = self._path(frame)
        if not path:
            return
        shown, lasti = path[-1]
        local = {id(value): word for word, value in shown.f_locals.items() if isinstance(value, Tensor)}
        operands = []
        for number, tensor in enumerate([*_operands(args), *_operands(kwargs.values())], start=1):
            word = local.get(id(tensor)) or self.module_names.get(id(tensor))
            word = word or self._expressions.get(self._maker(tensor)) or f"operand {number}"
            operands.append((word, self.axes(tensor)))
        self.failed = (self._place(shown, lasti), name.strip("_"), operands, error)

    def _locate(self, error: BaseException) -> None:
        """For what raised outside torch's functions: the last shown line, and the tensors it speaks of."""
        if self.failed is not None and self.failed[3] is error:
            return
        found: TracebackType | None = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame is not self._base and self._info(trace.tb_frame.f_code).shown:
                found = trace
            trace = trace.tb_next
        if found is None:
            return
        frame = found.tb_frame
        place = place_of(frame, found.tb_lasti)
        operands = []
        for word in _names_in(place.text):
            value = frame.f_locals.get(word)
            if isinstance(value, Tensor):
                operands.append((word, self.axes(value)))
        self.failed = (place, "", operands, error)


def _names_in(text: str) -> list[str]:
    try:
        tree = ast.parse(text.strip())
    except SyntaxError:
        return []
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(names))


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return str(name)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a result, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    return []


def _operands(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _operands(value)


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.device]:
    with torch._C.DisableTorchFunction():
        return tensor.dtype, tensor.device


# What was compiled

COMPILED = (
    "can't trace {what}: it is compiled, and compiled code runs as one piece, with no Python steps to see. "
    "Trace it uncompiled: before torch.compile, or model._orig_mod of a compiled model"
)


def refuse_compiled(function: Any) -> None:
    """Raise CompiledCodeError, when a callable is compiled or holds a module that is."""
    if isinstance(function, nn.Module):
        for name, module in function.named_modules():
            kind = type(module).__name__
            if kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
                raise CompiledCodeError(COMPILED.format(what=f"{name or 'the model'}"))
            if isinstance(module, torch.jit.ScriptModule):
                raise CompiledCodeError(
                    f"can't trace {name or 'the model'}: it is a TorchScript module ({kind}). Trace the nn.Module that "
                    "it was made from"
                )
    elif isinstance(function, torch.jit.ScriptFunction):
        raise CompiledCodeError(
            f"can't trace {function.name}: it is TorchScript. Trace the Python function it came from"
        )
    elif hasattr(function, "_torchdynamo_orig_callable"):
        name = getattr(function, "__name__", "the function")
        raise CompiledCodeError(
            f"can't trace {name}: it is compiled by torch.compile, and runs as one piece, with no Python steps to see. "
            f"Trace the function as it was before torch.compile"
        )


# Symbols for the numbers that modules keep


@contextmanager
def named_attributes(scope: Scope, modules: list[nn.Module]) -> Iterator[None]:
    """While the trace runs, the hyper-parameters that modules keep under their standard names know their symbol."""
    kept: list[tuple[nn.Module, str, Any]] = []
    try:
        for root in modules:
            for module in root.modules():
                for name, value in list(vars(module).items()):
                    symbols = HYPERPARAMETERS.get(name)
                    if symbols is None or name in AMBIGUOUS_ATTRIBUTES:
                        continue
                    named = name_numbers(scope, symbols, value, given=False)
                    if named is not value:
                        kept.append((module, name, value))
                        vars(module)[name] = named
        yield
    finally:
        for module, name, value in reversed(kept):
            vars(module)[name] = value


def name_numbers(scope: Scope, symbols: str | tuple[str, ...], value: Any, given: bool = True) -> Any:
    """A hyper-parameter, an int or a pair of them, as numbers that know their symbols."""
    if type(value) is int and isinstance(symbols, str):
        size = scope.named(symbols, value, given) if value > 0 else None
        return value if size is None else named_int(size, scope, value)
    if isinstance(value, tuple) and all(type(n) is int for n in value):
        each = symbols if isinstance(symbols, tuple) else (symbols,) * len(value)
        if len(each) == len(value):
            return tuple(name_numbers(scope, s, n, given) for s, n in zip(each, value, strict=True))
    return value


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """The parameters that a callable takes; None when Python doesn't know them."""
    try:
        return inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):
        return None
