"""Watches a call: every torch function that it uses, and the expression that asked for it.

Nothing is patched, nothing is put in the place of anything, and nothing outlives the call: torch hands its functions to
a function mode, and Python tells of returns through its profile hook. What the traced code sees is what it sees alone.
"""

import ast
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import CO_GENERATOR
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitcourse.trace.names import parts
from vitcourse.trace.source import COMPREHENSIONS, Place, place_of, readable

# Before Python 3.12 it costs less to take the hook off while the tracer works than to have it called for each call.
_PAUSES = sys.version_info < (3, 12)
_SEQUENTIAL = nn.Sequential.forward.__code__
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
Sizes = tuple[int, ...]
# What a function of torch is called, and the sizes of its results.
Step = tuple[Any, ...]
# A tensor by the step that made it and its place among that step's results.
Ref = tuple[int, int]


@dataclass(eq=False, slots=True)
class Node:
    """A step of the traced code while it is being recorded."""

    place: Place
    op: str
    start: int
    results: tuple[Ref, ...] = ()
    dtype: torch.dtype | None = None
    device: torch.device | None = None
    children: list["Node"] = field(default_factory=list)
    # What it uses of what was there before: the step that made it (-1: none did), and of what kind it is.
    used: dict[int, tuple[torch.dtype, torch.device]] = field(default_factory=dict)
    end: int = 0
    module: nn.Module | None = None
    key: tuple[int, int] = (0, 0)
    shown: bool = False
    spread: tuple[Ref, ...] = ()

    def use(self, used: Mapping[int, tuple[torch.dtype, torch.device]]) -> None:
        """Take in what a step inside uses, but for what was made in here."""
        for maker, kind in used.items():
            if maker < self.start and maker not in self.used:
                self.used[maker] = kind

    def inside(self) -> Iterator["Node"]:
        """All steps in here, the innermost first."""
        for child in self.children:
            yield from child.inside()
            yield child


@dataclass
class Failed:
    """Where the traced code raised: the line, the function of torch, and its tensors by name."""

    error: BaseException
    place: Place
    op: str
    args: tuple[Any, ...]
    operands: list[tuple[str, Tensor]]
    module: nn.Module | None = None


class Watch(TorchFunctionMode):
    """The steps of one run, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.opaque = False
        self.base: FrameType | None = None
        self._known: dict[int, tuple[weakref.ref[Tensor], int, int, torch.dtype, torch.device]] = {}
        self._names: dict[Any, str] = {}
        self._shown: dict[int, tuple[CodeType, bool, bool]] = {}
        self._compiled: FrameType | None = None

    def note(self, name: str, tensors: list[Tensor]) -> int:
        """Add a step with its results, and return its number."""
        serial = len(self.steps)
        if len(tensors) == 1 and not (tensor := tensors[0]).is_nested:
            self.steps.append((name, tensor.shape))
            self._known[id(tensor)] = (weakref.ref(tensor), serial, 0, tensor.dtype, tensor.device)
            return serial
        self.steps.append((name, *map(sizes_of, tensors)))
        self.remember(tensors, serial)
        return serial

    def remember(self, tensors: list[Tensor], serial: int) -> None:
        """Keep which step made which tensor."""
        for place, tensor in enumerate(tensors):
            self._known[id(tensor)] = (weakref.ref(tensor), serial, place, tensor.dtype, tensor.device)

    def known(self, tensor: Tensor) -> Ref | None:
        """The step that made a tensor; None for a tensor that the run found ready."""
        entry = self._known.get(id(tensor))
        return (entry[1], entry[2]) if entry is not None and entry[0]() is tensor else None

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
            shown = code is _SEQUENTIAL or readable(code.co_filename)
            info = self._shown[id(code)] = (code, shown, code.co_name in COMPREHENSIONS)
        return info

    def hook(self, frame: FrameType, event: str, value: Any) -> None:
        """Told of every call and return while the run goes on."""
        if frame.f_code is _HANDLER:
            return
        if event == "return":
            if self._compiled is not None:
                quietly(self._aside_ended, frame, value)
            if (
                self._compiled is None
                and (back := frame.f_back) is not None
                and self.info(back.f_code)[1]
                and back is not self.base
            ):
                quietly(self.returned, frame, back, value)
        elif event == "call" and self._compiled is None and _is_compiled(frame.f_code):
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
        raise NotImplementedError


class Recorder(Watch):
    """Runs one call and keeps the steps it took, as a tree of the expressions that asked for them."""

    def __init__(self, also_shown: set[str] | None = None) -> None:
        super().__init__()
        self.root = Node(Place("", 0, ""), "", 0)
        self.failed: Failed | None = None
        self.module_names: dict[int, str] = {}
        # The first step of which data decides the sizes.
        self.data: int | None = None
        self._also_shown = also_shown or set()
        self._open: list[tuple[FrameType, int, Node]] = []
        self._places: dict[FrameType, int] = {}
        self._busy = True
        self._hook = self.hook

    def info(self, code: CodeType) -> tuple[CodeType, bool, bool]:
        found = self._shown.get(id(code))
        if found is None:
            found = super().info(code)
            if code.co_filename in self._also_shown:
                found = self._shown[id(code)] = (code, True, found[2])
        return found

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function and record its steps. What it raises, it raises here."""
        self.base = sys._getframe()
        before = sys.getprofile()
        try:
            with self:
                self._busy = False
                sys.setprofile(self._hook)
                try:
                    return function(*args, **kwargs)
                except Exception as error:
                    sys.setprofile(before)
                    self._locate(error)
                    raise
                finally:
                    self._busy = True
                    sys.setprofile(before)
        finally:
            self._close(0)
            self.base = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = self._names.get(func)
        if name is None:
            name = self.name(func)
        if not name or self._busy:
            return func(*args, **kwargs)
        self._busy = True
        if _PAUSES:
            sys.setprofile(None)
        try:
            try:
                result = func(*args, **kwargs)
            except Exception as error:
                quietly(self._failed_in, sys._getframe(1), name, args, kwargs, error)
                raise
            try:
                self._step(sys._getframe(1), name, args, kwargs, result)
            except Exception:
                if strict:
                    raise
            return result
        finally:
            self._busy = False
            if _PAUSES:
                sys.setprofile(self._hook)

    def _step(self, frame: FrameType, name: str, args: tuple[Any, ...], kwargs: Any, result: Any) -> None:
        tensors = [result] if isinstance(result, Tensor) else tensors_in(result)
        if self.data is None and name in _DECIDING and decides(name, args, kwargs):
            self.data = len(self.steps)
        operands: list[Tensor] = []
        for value in args:
            if isinstance(value, Tensor):
                operands.append(value)
            elif isinstance(value, (tuple, list)):
                operands += tensors_of(value)
        if kwargs:
            operands += tensors_of(kwargs.values())
        if not tensors:
            if name != "__setitem__" and name != "backward":
                return
            tensors = operands[:1] if name == "__setitem__" else []
        known = self._known
        used: dict[int, tuple[torch.dtype, torch.device]] = {}
        refs: list[Ref] = []
        for tensor in operands:
            entry = known.get(id(tensor))
            if entry is not None and entry[0]() is tensor:
                refs.append((entry[1], entry[2]))
                used.setdefault(entry[1], (entry[3], entry[4]))
            elif -1 not in used:
                used[-1] = (tensor.dtype, tensor.device)
        serial = self.note(name, tensors)
        code = frame.f_code
        _, direct, comprehension = self._shown.get(id(code)) or self.info(code)
        node = self._inside(frame, comprehension) if direct else self._enter(frame)
        if direct:
            step = Node(self._place(frame, frame.f_lasti), name.strip("_") or name, serial)
            step.key, step.end, step.shown, step.used = (id(code), frame.f_lasti), serial, True, used
            node.children.append(step)
            if tensors:
                _, _, _, step.dtype, step.device = known[id(tensors[0])]
                step.results = ((serial, 0),) if len(tensors) == 1 else tuple((serial, i) for i in range(len(tensors)))
        elif node is self.root:
            return
        elif name == "backward" and not node.results:
            node.shown = True
        if len(operands) == 2 and len(tensors) == 1 and operands[0].ndim != operands[1].ndim:
            (step if direct else node).spread = tuple(refs)
        if node is not self.root:
            node.use(used)

    def ended(self, frame: FrameType, value: Any) -> None:
        super().ended(frame, value)
        self._enter(frame)

    # Frames

    def _inside(self, frame: FrameType, comprehension: bool) -> Node:
        """The innermost open step round a line that is shown."""
        place = self._places.get(frame)
        if place is None or frame.f_code.co_flags & CO_GENERATOR:
            return self._enter(frame.f_back, comprehension)
        self._close(place)
        return self._open[-1][2] if self._open else self.root

    def _enter(self, frame: FrameType | None, inside: bool = False) -> Node:
        """Open the expressions that are being evaluated and not open yet, close those that are left: the innermost."""
        path: list[tuple[FrameType, int]] = []
        codes, places, base, same = self._shown, self._places, self.base, 0
        while frame is not None and frame is not base:
            code = frame.f_code
            _, shown, comprehension = codes.get(id(code)) or self.info(code)
            if shown:
                if not inside:
                    path.append((frame, frame.f_lasti))
                    # What is round an open one is still open, but for a generator, which others can go on with.
                    if frame in places and not code.co_flags & CO_GENERATOR:
                        same = places[frame]
                        break
                inside = comprehension
            frame = frame.f_back
        for (opened, lasti, _), (other, place) in zip(self._open[same:], reversed(path), strict=False):
            if opened is not other or lasti != place:
                break
            same += 1
            path.pop()
        self._close(same)
        for other, place in reversed(path):
            parent = self._open[-1][2] if self._open else self.root
            node = Node(self._place(other, place), "", len(self.steps) - 1, key=(id(other.f_code), place))
            parent.children.append(node)
            places[other] = len(self._open)
            self._open.append((other, place, node))
        return self._open[-1][2] if self._open else self.root

    def _close(self, position: int) -> None:
        while len(self._open) > position:
            frame, _, node = self._open.pop()
            del self._places[frame]
            node.end = len(self.steps) - 1
            if self._open:
                self._open[-1][2].use(node.used)

    def _place(self, frame: FrameType, lasti: int) -> Place:
        if frame.f_code is _SEQUENTIAL:
            container, module = frame.f_locals["self"], frame.f_locals.get("module")
            found = next((name for name, child in container._modules.items() if child is module), "?")
            kind = type(module).__name__
            return Place(frame.f_code.co_filename, 0, f"[{found}] {kind}", callee=kind)
        return place_of(frame, lasti)

    def returned(self, frame: FrameType, back: FrameType, value: Any) -> None:
        """What a call returned is the result of the expression that is open around it."""
        if self._busy:
            return
        self._busy = True
        try:
            super().returned(frame, back, value)
            for position in range(len(self._open) - 1, -1, -1):
                if self._open[position][0] is back and self._open[position][1] == back.f_lasti:
                    self._returned(position, frame, value)
                    break
        finally:
            self._busy = False

    def unseen(self, frame: FrameType, back: FrameType, tensors: list[Tensor]) -> None:
        self.note("opaque", tensors)
        self._enter(back)

    def _returned(self, position: int, frame: FrameType, value: Any) -> None:
        node = self._open[position][2]
        self._close(position)
        name = frame.f_code.co_name
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and name in ("_wrapped_call_impl", "_call_impl", "__call__"):
            node.op, node.module = type(owner).__name__, owner
        elif isinstance(owner, torch.optim.Optimizer) or name == "backward":
            node.op, node.shown = "step" if name == "wrapper" else name, True
        else:
            node.op = _called(frame, name)
        results = [ref for tensor in tensors_in(value) if (ref := self.known(tensor)) is not None]
        if results:
            node.dtype, node.device = self._known_kind(value)
            node.results, node.shown = tuple(results), True

    def _known_kind(self, value: Any) -> tuple[torch.dtype, torch.device]:
        entry = next(e for tensor in tensors_in(value) if (e := self._known.get(id(tensor))) is not None)
        return entry[3], entry[4]

    # Errors

    def _failed_in(self, frame: FrameType, name: str, args: tuple[Any, ...], kwargs: Any, error: BaseException) -> None:
        if self.failed is not None and self.failed.error is error:
            return
        shown: FrameType | None = frame
        while shown is not None and not self.info(shown.f_code)[1]:
            shown = shown.f_back if shown.f_back is not self.base else None
        if shown is None:
            return
        local = {id(value): word for word, value in shown.f_locals.items() if isinstance(value, Tensor)}
        operands = []
        for number, tensor in enumerate([*tensors_of(args), *tensors_of(kwargs.values())], start=1):
            ref = self.known(tensor)
            made = next((n.place.text for n in self.root.inside() if ref in n.results), None)
            word = local.get(id(tensor)) or self.module_names.get(id(tensor)) or made or f"operand {number}"
            operands.append((word, tensor))
        place, numbers = self._place(shown, shown.f_lasti), (*args, *kwargs.values())
        self.failed = Failed(error, place, name.strip("_"), numbers, operands, self._module_of(frame))

    def _module_of(self, frame: FrameType | None) -> nn.Module | None:
        """The module of torch that the learner's line called."""
        while frame is not None and frame is not self.base and not self.info(frame.f_code)[1]:
            if isinstance(owner := frame.f_locals.get("self"), nn.Module):
                return owner
            frame = frame.f_back
        return None

    def _locate(self, error: BaseException) -> None:
        """For what raised outside torch's functions: the last shown line, and the tensors it speaks of."""
        if self.failed is not None and self.failed.error is error:
            return
        found: TracebackType | None = None
        last: TracebackType | None = error.__traceback__
        trace = last
        while trace is not None:
            if trace.tb_frame is not self.base and readable(trace.tb_frame.f_code.co_filename):
                found = trace
            last, trace = trace, trace.tb_next
        if found is None or last is None:
            module = self._module_of(last.tb_frame) if last is not None else None
            self.failed = Failed(error, Place("", 0, ""), "", (), [], module)
            return
        frame = found.tb_frame
        place = place_of(frame, found.tb_lasti)
        operands = [
            (word, value) for word in _names_in(place.text) if isinstance(value := frame.f_locals.get(word), Tensor)
        ]
        self.failed = Failed(error, place, "", (), operands, self._module_of(last.tb_frame))


_HANDLER = Recorder.__torch_function__.__code__


def quietly(work: Callable[..., Any], *args: Any) -> Any:
    """What the tracer does beside the traced code never raises into it; what fails leaves a row out."""
    try:
        return work(*args)
    except Exception:
        if strict:
            raise
        return None


strict = False


def _is_compiled(code: CodeType) -> bool:
    return code.co_name == "compile_wrapper" and "_dynamo" in code.co_filename


_DECIDING = READS | COUNTING | WHERE | {"where", "__getitem__"}


def decides(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the sizes of what a function gives depend on the numbers in its tensors."""
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name == "repeat_interleave":
        return len(args) + len(kwargs) == 1 or any(True for _ in tensors_of((*args[1:], *kwargs.values())))
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else args[1:]
        return any(
            part.dtype in (torch.bool, torch.uint8)
            if isinstance(part, Tensor)
            else isinstance(part, slice) and (isinstance(part.start, Tensor) or isinstance(part.stop, Tensor))
            for part in index
        )
    return name in READS or name in COUNTING or name in WHERE


def _called(frame: FrameType, name: str) -> str:
    """What a reader calls the function of a frame."""
    # torch's wrapper round __rpow__ and its kin is called "wrapped", and the one round max_pool2d "fn".
    inner = {"wrapped": "f", "fn": "if_false"}.get(name)
    return str(getattr(frame.f_locals.get(inner), "__name__", name) if inner else name).strip("_")


def _names_in(text: str) -> list[str]:
    try:
        tree = ast.parse(text.strip())
    except SyntaxError:
        return []
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


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


def tensors_of(values: Any) -> Iterator[Tensor]:
    """The tensors among a function's arguments."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_of(value)
