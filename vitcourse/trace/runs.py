"""The same call, made anew at other sizes.

Such a run works on copies, with other numbers and few of them, and alters nothing that the caller has. Only the sizes
that it meets are kept.
"""

import copy
import random
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.utils._device import _device_constructors

from vitcourse.trace.follow import Follower
from vitcourse.trace.names import changed
from vitcourse.trace.recorder import Sizes, Watch, sizes_of, tensors_in
from vitcourse.trace.sizes import FEW, chosen, worth
from vitcourse.trace.source import Place, place_of, readable

Steps = list[tuple[str, tuple[Sizes, ...]]]
# A model with more numbers than this is run on tensors without any, torch's meta device: slow by step, not by size.
LARGE = 10_000_000
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class Recipe:
    """How a module was made, and the symbols of its constructor's numbers by their paths."""

    kind: Callable[..., nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: list[str]
    numbers: dict[str, str]
    values: dict[str, int]
    path: str = ""

    def make(self, sizes: Mapping[str, int]) -> nn.Module:
        """The module, or the part of it, again, at other sizes."""
        new = {path: sizes[symbol] for path, symbol in self.numbers.items()}
        values = [*self.args, *self.kwargs.values()]
        made = [changed(v, name, new, copy.deepcopy) for name, v in zip(self.names, values, strict=True)]
        whole = self.kind(*made[: len(self.args)], **dict(zip(self.kwargs, made[len(self.args) :], strict=True)))
        return whole.get_submodule(self.path)


@dataclass
class Call:
    """A call that can be made anew: what is called with what, and where each symbol's size is written.

    `heads` are the places where a finished module keeps how many heads it has, and (True) how wide one is: the one of
    its own sizes that can be changed.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: list[str]
    sizes: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    held: list[tuple[Tensor, tuple[str, ...]]] = field(default_factory=list)
    modules: list[tuple[str, nn.Module]] = field(default_factory=list)
    recipes: list[tuple[nn.Module, Recipe]] = field(default_factory=list)
    heads: list[tuple[nn.Module, str, bool]] = field(default_factory=list)


class Copies:
    """Copies of what a call uses, each made once, at other sizes where the call says how."""

    def __init__(self, call: Call, sizes: Mapping[str, int], meta: bool, before: "Copies | None" = None) -> None:
        self.call, self.sizes, self.meta, self.before = call, sizes, meta, before
        self.memo: dict[int, Any] = {}
        # Whether something came along that keeps its own sizes.
        self.finished = False
        with torch.device("meta") if meta else ExitStack():
            for module, recipe in call.recipes:
                self._anew(module, recipe.make(sizes))
        self.function = self._function(call.function)
        self.heads = [(self._copy(module), name, width) for module, name, width in call.heads]

    def of(self, value: Any) -> Any:
        """The copy of something that the call uses; None where there is none."""
        return self.memo.get(id(value if self.before is None else self.before.of(value)))

    def call_of(self) -> Call:
        """The call on these copies: what later ones are made from, when the call itself has changed its things."""
        args, kwargs = self.arguments()
        recipes = [(self.of(module), recipe) for module, recipe in self.call.recipes]
        inputs = dict(zip(self.call.tensors, tensors_in([*args, *kwargs.values()]), strict=True))
        return replace(
            self.call, function=self.function, args=args, kwargs=kwargs, tensors=inputs, recipes=recipes,
            heads=self.heads,
        )  # fmt: skip

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, at the sizes asked for."""
        more = self.sizes.get("h", 1) // self.call.sizes.get("h", 1)
        for (module, name, width), (old, _, _) in zip(self.heads, self.call.heads, strict=True):
            vars(module)[name] = vars(old)[name] // more if width else vars(old)[name] * more
        new: dict[str, Any] = {path: self.sizes[symbol] for path, symbol in self.call.numbers.items()}
        for path, tensor in self.call.tensors.items():
            new[path] = self._input(tensor, [worth(word, self.sizes) for word in self.call.words[path]])
        values = [*self.call.args, *self.call.kwargs.values()]
        made = [changed(v, name, new, self._copy) for name, v in zip(self.call.names, values, strict=True)]
        count = len(self.call.args)
        return tuple(made[:count]), dict(zip(self.call.kwargs, made[count:], strict=True))

    def _anew(self, old: nn.Module, new: nn.Module) -> None:
        fresh = dict(new.named_modules())
        for path, module in old.named_modules():
            fresh[path].training = module.training
            self.memo[id(module)] = fresh[path]
        for path, parameter in [*old.named_parameters(), *old.named_buffers()]:
            self.memo[id(parameter)] = other = (
                new.get_parameter(path) if isinstance(parameter, nn.Parameter) else new.get_buffer(path)
            )
            other.requires_grad_(parameter.requires_grad)

    def _input(self, tensor: Tensor, shape: list[int]) -> Tensor:
        """Numbers of the same kind in another shape, and in another order, so that what data decides differs."""
        if self.meta or tensor.is_meta:
            new = torch.empty(shape, dtype=tensor.dtype, device="meta")
        elif tensor.is_floating_point() or not tensor.numel():
            new = torch.empty(shape, dtype=tensor.dtype, device=tensor.device).uniform_(-20, 20)
        else:
            flat = tensor.detach().flatten()
            new = flat[torch.randint(len(flat), shape, device=tensor.device)]
        return new.requires_grad_(tensor.requires_grad)

    def _tensor(self, tensor: Tensor) -> Tensor:
        self.finished = True
        with torch.no_grad():
            new = torch.empty_like(tensor, device="meta") if self.meta else tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            return type(tensor)(new, tensor.requires_grad) if type(tensor) is nn.Parameter else new
        return new.requires_grad_(tensor.requires_grad)

    def _copy(self, value: Any) -> Any:
        if id(value) in self.memo:
            return self.memo[id(value)]
        if value is None or isinstance(
            value, (int, float, str, bytes, torch.dtype, torch.device, type, types.ModuleType)
        ):
            return value
        if isinstance(value, Tensor):
            new: Any = self._tensor(value)
        elif isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            return self._module(value)
        elif isinstance(value, (types.FunctionType, types.MethodType)):
            return self._function(value)
        elif type(value) in (list, tuple, set):
            new = type(value)(self._copy(item) for item in value)
        elif type(value) is dict:
            new = {key: self._copy(item) for key, item in value.items()}
        else:
            if isinstance(value, torch.optim.Optimizer):
                for group in value.param_groups:
                    self._copy(group["params"])
            new = copy.deepcopy(value, self.memo)
        self.memo[id(value)] = new
        return new

    def _module(self, module: nn.Module) -> nn.Module:
        # What deepcopy does, in an eighth of its time.
        if isinstance(inner := vars(module).get("_modules", {}).get("_orig_mod"), nn.Module):
            new = self._module(inner)
            self.memo[id(module)] = new
            vars(new)["forward"] = _apart(new.forward)
            return new
        new = object.__new__(type(module))
        self.memo[id(module)] = new
        for name, value in vars(module).items():
            if name == "_compiled_call_impl":
                continue
            if isinstance(value, dict) and type(value) in (dict, OrderedDict):
                vars(new)[name] = type(value)((key, self._copy(item)) for key, item in value.items())
            else:
                vars(new)[name] = self._copy(value)
        if module._compiled_call_impl is not None:
            vars(new)["forward"] = _apart(new.forward)
        return new

    def _function(self, function: Any) -> Any:
        """A function whose closure, and whose modules and lists outside, are copies."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self._function(function.__func__), self._copy(function.__self__))
        if not isinstance(function, types.FunctionType):
            return self._copy(function)
        if id(function) in self.memo:
            return self.memo[id(function)]
        outside = function.__globals__
        used = [name for name in _names_of(function.__code__) if self._is_own(outside.get(name), outside)]
        cells = function.__closure__ or ()
        if not cells and not used:
            return function
        inside = dict(outside) if used else outside
        new = types.FunctionType(
            function.__code__, inside, function.__name__, function.__defaults__,
            tuple(types.CellType() for _ in cells) or None,
        )  # fmt: skip
        new.__kwdefaults__ = function.__kwdefaults__
        new.__dict__.update(function.__dict__)
        self.memo[id(function)] = new
        for mine, cell in zip(new.__closure__ or (), cells, strict=True):
            try:
                mine.cell_contents = self._copy(cell.cell_contents)
            except ValueError:
                continue  # nothing is in it yet
        for name in used:
            inside[name] = self._copy(outside[name])
        return new

    @staticmethod
    def _is_own(value: Any, outside: dict[str, Any]) -> bool:
        """Whether something outside of a function is what its code may change, or leads to such."""
        if isinstance(value, types.FunctionType):
            return value.__globals__ is outside
        kinds = (nn.Module, Tensor, list, dict, set, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
        return isinstance(value, kinds)


def _apart(forward: Callable[..., Any]) -> Callable[..., Any]:
    """What is compiled in the call that is shown, as the one step that it is there."""

    def call(*args: Any, **kwargs: Any) -> Any:
        mode = torch._C._pop_torch_function_stack()
        try:
            result = forward(*args, **kwargs)
        finally:
            torch._C._push_on_torch_function_stack(mode)
        if isinstance(mode, Rehearsal):
            mode.seen("compiled", tensors_in(result))
        return result

    return call


def _names_of(code: types.CodeType) -> set[str]:
    """The names that a function, and those inside it, may look up outside."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names_of, inner))


class Parted(BaseException):
    """A run takes other steps than the one that is shown: it ends here."""


class Rehearsal(Watch):
    """One run at other sizes; with a follower, each of its steps is looked into."""

    def __init__(self, meta: bool, main: Steps) -> None:
        super().__init__()
        self.meta, self.main = meta, main
        self.follower: Follower | None = None
        self.error: BaseException | None = None
        self.place: Place | None = None
        self.strays: dict[int, tuple[Tensor, Tensor]] = {}

    def note(self, name: str, tensors: list[Tensor]) -> int:
        self.steps.append((name, tuple(sizes_of(tensor) for tensor in tensors)))
        return len(self.steps) - 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = self.name(func)
        if not name:
            return func(*args, **kwargs)
        if self.meta:
            args = tuple(self._without_numbers(value) for value in args)
            kwargs = {key: self._without_numbers(value) for key, value in kwargs.items()}
            if func in _device_constructors() and kwargs.get("device") is None:
                kwargs["device"] = "meta"
        result = func(*args, **kwargs)
        tensors = [result] if isinstance(result, Tensor) else tensors_in(result)
        if not tensors and name == "__setitem__":
            tensors = list(args[:1])
        if tensors or name == "backward":
            if self.follower is not None:
                self.follower.step(name, func, args, kwargs, tensors)
            self.seen(name, tensors)
        return result

    def seen(self, name: str, tensors: list[Tensor]) -> None:
        """Keep a step's sizes, and what is known of them."""
        place = self.note(name, tensors)
        if place >= len(self.main) or not _alike(self.steps[place], self.main[place]):
            raise Parted
        if self.follower is not None:
            self.follower.steps.append([self.follower.axes(tensor) for tensor in tensors])

    def _without_numbers(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.is_meta:
                return value
            if id(value) not in self.strays:
                self.strays[id(value)] = (value, torch.empty_like(value, device="meta"))
            return self.strays[id(value)][1]
        return type(value)(map(self._without_numbers, value)) if type(value) in (tuple, list) else value

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], opaque: bool) -> Any:
        """Call the function; what it raises is kept."""
        before = sys.getprofile()
        state = random.getstate(), numpy.random.get_state()
        try:
            with ExitStack() as stack:
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                stack.enter_context(redirect_stdout(StringIO()))
                stack.enter_context(redirect_stderr(StringIO()))
                if opaque:
                    stack.enter_context(torch.compiler.set_stance("force_eager"))
                    stack.callback(sys.setprofile, before)
                stack.enter_context(self)
                if opaque:
                    sys.setprofile(self.aside)
                return function(*args, **kwargs)
        except (Exception, SystemExit, Parted) as error:
            self.error = error
            trace = error.__traceback__
            while trace is not None:
                if readable(trace.tb_frame.f_code.co_filename):
                    self.place = place_of(trace.tb_frame, trace.tb_lasti)
                trace = trace.tb_next
        finally:
            random.setstate(state[0])
            numpy.random.set_state(state[1])
        return None


@dataclass
class Turn:
    """A run that took the same steps as the one that is shown: its sizes, and its steps."""

    sizes: dict[str, int]
    steps: Steps
    copies: "Copies"
    turn: int
    follower: Follower | None = None
    result: Any = None


class Rehearsals:
    """Runs of one call at other sizes, as many as tell its sizes apart."""

    def __init__(self, call: Call, large: bool, follower: Callable[[Copies, list[Tensor]], Follower]) -> None:
        self.call, self.meta, self.follower = call, large, follower
        self.main: Steps = []
        self.failed = self.opaque = False
        self.turns: list[Turn] = []
        # The symbols that could change, and how; those that had to change with another; and what stopped the others.
        self.ways: dict[str, str] = {}
        self.together: dict[str, str] = {}
        self.stopped: dict[str, Rehearsal] = {}
        self.count = 0
        # Before the call, which may change what it is given.
        with torch.random.fork_rng(devices=[]):
            self._first = Copies(call, call.sizes, self.meta)
            self.call = self._first.call_of()
        self._spare: Copies | None = None
        self.finished = False

    def run(self, main: Steps, failed: bool, opaque: bool) -> None:
        """Every symbol at once, where the call allows it; else as many as can change, one after the other."""
        self.main, self.failed, self.opaque = main, failed, opaque
        symbols = [name for name in self.call.sizes if name != "h" or not self.call.heads]
        held = True
        for way, held in (("free", False), ("free", True), ("small", True)):
            if symbols and self._try(ways := dict.fromkeys(symbols, way), 0, held):
                self.ways = ways
                if self._again(1, held):
                    break
        if not self.ways:
            self._one_by_one(symbols)
            if self.stopped and self.ways and symbols[-1] in self.ways:
                self._one_by_one([name for name in symbols if name not in self.ways])
        if self.call.heads and self._try({**self.ways, "h": "twice"}, 0, True):
            self.ways["h"] = "twice"
        # More, where numbers are to be found, and for sizes whose parts may be rounded up or down.
        finished = self.finished or not self.ways or set(self.call.sizes) - set(self.ways)
        rounded = any(way == "free" and name not in FEW for name, way in self.ways.items())
        few = "small" in self.ways.values()
        for turn in range(1, 2 + (bool(self.ways) and not finished) + rounded + 2 * few) if self.ways else ():
            if turn > 1 or not any(t.turn == 1 for t in self.turns):
                self._again(turn, held)
        if finished:
            # At sizes that can be halved, where that matters.
            first, second = (0, 1) if rounded else (1, 0)
            _ = self._try(self.ways, first, held, follow=True) or self._try(self.ways, second, held, follow=True)

    def _again(self, turn: int, held: bool) -> bool:
        """Another run, with the symbols that can change; divisible ones, where these sizes don't do."""
        even = {name: "even" if way == "free" and name not in FEW else way for name, way in self.ways.items()}
        return self._try(self.ways, turn, held) or (even != self.ways and self._try(even, turn, held))

    def _one_by_one(self, symbols: list[str]) -> None:
        for name in symbols:
            at: list[int] = []
            for way in ("free", "even", "times", "next"):
                if self._try({**self.ways, name: way}, 0, True):
                    self.ways[name] = way
                    break
                # Stopped by the same step again: by a size of its own, whatever this one is.
                at.append(len(self.last.steps))
                if isinstance(self.last.error, Exception) and at.count(at[-1]) > 1:
                    break
            if name in self.ways:
                continue
            self.stopped[name] = self.last
            for other in [o for o, n in self.call.sizes.items() if o != name and n == self.call.sizes[name]]:
                if other not in self.ways and self._try({**self.ways, name: "free"}, 0, True, {other: name}):
                    self.ways[name], self.together[other] = "free", name
                    break

    def _try(
        self, ways: dict[str, str], turn: int, held: bool, also: dict[str, str] | None = None, follow: bool = False
    ) -> bool:
        """One run; whether it took the steps of the run that is shown."""
        sizes = chosen(self.call.sizes, {k: w for k, w in ways.items() if k not in self.together}, turn, held)
        for name, other in {**self.together, **(also or {})}.items():
            sizes[name] = sizes[other]
        self.last = Rehearsal(self.meta, self.main)
        with torch.random.fork_rng(devices=[]):
            return self._ran(sizes, turn, follow)

    def _ran(self, sizes: dict[str, int], turn: int, follow: bool) -> bool:
        result, copies = None, self._spare
        try:
            if copies is None or self.call.recipes:
                copies = Copies(self.call, sizes, self.meta, self._first)
            copies.sizes, self._spare = sizes, copies
            args, kwargs = copies.arguments()
            self.finished = self.finished or copies.finished
            if follow:
                self.last.follower = self.follower(copies, tensors_in([*args, *kwargs.values()]))
            self.count += 1
            for tensor in tensors_in([*args, *kwargs.values()]):
                self.last.seen("input", [tensor])
            result = self.last.run(copies.function, args, kwargs, self.opaque)
        except (Exception, Parted) as error:
            # What can't be copied, or not be made at these sizes, can't be run at them.
            self.last.error = error
        if copies is None:
            return False
        same = isinstance(self.last.error, Exception) == self.failed and len(self.last.steps) == len(self.main)
        same = same and not isinstance(self.last.error, Parted)
        if same:
            self._spare = None
            self.turns.append(Turn(sizes, self.last.steps, copies, turn, self.last.follower, result))
        return same


def _alike(mine: tuple[str, tuple[Sizes, ...]], other: tuple[str, tuple[Sizes, ...]]) -> bool:
    """Whether two steps are the same, but for their sizes."""
    return mine[0] == other[0] and [len(shape) for shape in mine[1]] == [len(shape) for shape in other[1]]
