"""Copies of what a call uses, at other sizes, so that running it again alters nothing that the caller has."""

import copy
import functools
import inspect
import types
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vitcourse.trace.expressions import HEADS, worth
from vitcourse.trace.names import changed, kept_numbers
from vitcourse.trace.recorder import Sizes, sizes_of, tensors_in
from vitcourse.trace.shared import Shared, names_of
from vitcourse.trace.source import readable

_CACHED = functools._lru_cache_wrapper
_PLAIN = frozenset((type(None), bool, int, float, str))
_DICTS = frozenset((dict, OrderedDict))
_AS_THEY_ARE = (
    int, float, str, bytes, torch.dtype, torch.device, type, types.ModuleType, torch.jit.ScriptFunction,
)  # fmt: skip
# What a module that is made anew keeps of the old one: its hooks, and its mode.
_OLD = {"training", *(name for name in vars(nn.Module()) if "forward" in name)}


@dataclass
class Recipe:
    """How a module was made, and the symbols of its constructor's numbers by their paths; numbers that have none."""

    kind: Callable[..., nn.Module]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: list[str]
    numbers: dict[str, str]
    values: dict[str, int]
    nameless: dict[str, int | float]
    path: str = ""

    def make(self, sizes: Mapping[str, int], others: Mapping[str, int | float]) -> nn.Module:
        """The module, or the part of it, again, at other sizes, and with other numbers that have no symbol."""
        values = [*self.args, *self.kwargs.values()]
        new: dict[str, Any] = {path: sizes[symbol] for path, symbol in self.numbers.items()}
        new |= {path: others[path] for path in self.nameless.keys() & others.keys()}
        made = [changed(v, name, new, copy.deepcopy) for name, v in zip(self.names, values, strict=True)]
        whole = self.kind(*made[: len(self.args)], **dict(zip(self.kwargs, made[len(self.args) :], strict=True)))
        return whole.get_submodule(self.path)


@dataclass
class Call:
    """A call that can be made anew: what is called with what, and where each symbol's size is written.

    `heads` are the places where a finished module keeps how many heads it has, and (True) how wide one is: the one of
    its own sizes that can be changed. There can be `more` times as many. `ties` are words of a constructor whose symbol
    the caller gives an input, too: that they are one size is to be seen. `layers` say how many layers there are;
    `listed` are numbers of a list, of which nobody knows what they are.
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
    more: int = 2
    ties: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    @property
    def counts(self) -> list[str]:
        """The symbols of how many heads a finished module has."""
        return [symbol for symbol in HEADS if self.heads and symbol in self.sizes]

    @functools.cached_property
    def kept(self) -> list[tuple[nn.Module, str, Any]]:
        """The numbers that modules keep under the words of hyper-parameters: in which part, the word, the number."""
        return [number for _, module in self.modules for number in kept_numbers(module)]


# An input of more, 64 MB of float32, isn't made to try sizes: what is computed from it can be many times as large.
MOST_NUMBERS = 2**24


class Copies:
    """Copies of what a call uses, each made once, at other sizes where the call says how, or with other numbers."""

    def __init__(
        self, call: Call, sizes: Mapping[str, int], meta: bool, before: "Copies | None" = None,
        others: Mapping[str, int | float] | None = None,
    ) -> None:  # fmt: skip
        self.call, self.sizes, self.meta, self.before = call, sizes, meta, before
        self.memo: dict[int, Any] = {}
        # What copies share with what they are copies of.
        self.shared: Shared = before.shared if before is not None else Shared()
        self.ordered = True
        # Tensors that keep their sizes.
        self.kept: set[int] = set()
        # Whether something came along that keeps its own sizes.
        self.finished = False
        with torch.device("meta") if meta else ExitStack():
            for module, recipe in call.recipes:
                self._anew(module, recipe.make(sizes, others or {}))
        self.function = self._function(call.function)
        self.heads = [(self._copy(module), name, width) for module, name, width in call.heads]

    def of(self, value: Any) -> Any:
        """The copy of something that the call uses; None where there is none."""
        return self.memo.get(id(value if self.before is None else self.before.of(value)))

    def held(self) -> dict[int, Sizes]:
        """The sizes of the tensors that came along, by what they are copies of."""
        return {key: sizes_of(new) for key, new in self.memo.items() if isinstance(new, Tensor)}

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
            self.shared.keep(type(module))
            self.memo[id(module)] = fresh[path]
            for name in vars(module).keys() & _OLD:
                # Hooks that hold what can't be copied are left out.
                with suppress(Exception):
                    fresh[path].__dict__[name] = self._attribute(vars(module)[name])
        for path, parameter in [*old.named_parameters(), *old.named_buffers()]:
            self.memo[id(parameter)] = other = (
                new.get_parameter(path) if isinstance(parameter, nn.Parameter) else new.get_buffer(path)
            )
            if not is_lazy(other):
                other.requires_grad_(parameter.requires_grad)

    def _input(self, tensor: Tensor, shape: list[int]) -> Tensor:
        """Numbers of the same kind in another shape, and in another order, so that what data decides differs."""
        if not self.meta and prod(shape) > max(MOST_NUMBERS, 4 * tensor.numel()):
            raise ValueError("more numbers than it is worth")
        drawn = tensor.is_floating_point() and not _is_counted(tensor)
        if self.before is None and drawn and not tensor.is_meta:
            # Of the first copy's only the kind and the shape are asked.
            new = torch.empty((), dtype=tensor.dtype, device=tensor.device).expand(shape)
        elif self.meta or tensor.is_meta:
            new = torch.empty(shape, dtype=tensor.dtype, device="meta")
        elif drawn or not tensor.numel():
            # A few numbers again and again: a large image of numbers of its own takes longer than a run.
            some = torch.empty(min(prod(shape), 997), dtype=tensor.dtype, device=tensor.device).uniform_(-20, 20)
            if prod(shape) > 997:
                some = some.repeat(prod(shape) // 997 + 1)[: prod(shape)]
            new = some.view(shape)
        else:
            flat = tensor.detach().flatten()
            new = flat[torch.randint(len(flat), shape, device=tensor.device)]
            for down in (False, True) if tensor.ndim == 1 and self.ordered else ():
                # What is in order, lengths of sequences or where they begin, stays in order.
                if flat.equal(flat.sort(descending=down).values):
                    new = torch.cat([flat[:1], new[1:].sort(descending=down).values])
        return new.requires_grad_(tensor.requires_grad)

    def _tensor(self, tensor: Tensor) -> Tensor:
        self.finished = True
        if is_lazy(tensor):
            return copy.deepcopy(tensor)
        if self.before is not None:
            # Of a copy: its numbers may be changed, and only sizes are kept.
            self.kept.add(id(tensor))
            return tensor
        new = torch.empty_like(tensor, device="meta") if self.meta else tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            return type(tensor)(new, tensor.requires_grad) if type(tensor) is nn.Parameter else new
        return new.requires_grad_(tensor.requires_grad)

    def _copy(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if id(value) in self.memo:
            return self.memo[id(value)]
        if isinstance(value, type):
            self.shared.keep(value)
        if isinstance(value, _AS_THEY_ARE):
            return value
        if isinstance(value, Tensor):
            new: Any = self._tensor(value)
        elif isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            return self._object(value)
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial, _CACHED)):
            return self._function(value)
        elif type(value) in (list, tuple, set):
            new = type(value)(self._copy(item) for item in value)
        elif type(value) is dict:
            new = {key: self._copy(item) for key, item in value.items()}
        elif _is_plain(type(value)):
            return self._object(value)
        else:
            self.shared.keep(type(value))
            if isinstance(value, torch.optim.Optimizer):
                for group in value.param_groups:
                    self._copy(group["params"])
            new = copy.deepcopy(value, self.memo)
        self.memo[id(value)] = new
        return new

    def _object(self, old: Any) -> Any:
        # What deepcopy does, in an eighth of its time.
        self.shared.keep(type(old))
        if isinstance(inner := vars(old).get("_modules", {}).get("_orig_mod"), nn.Module):
            new = self._object(inner)
            self.memo[id(old)] = new
            vars(new)["forward"] = _apart(new.forward)
            return new
        new = object.__new__(type(old))
        self.memo[id(old)] = new
        inside, memo = vars(new), self.memo
        for name, value in vars(old).items():
            kind = type(value)
            if kind in _PLAIN:
                inside[name] = value
            elif kind in _DICTS and not value:
                # Most of a module's attributes are these.
                inside[name] = memo[id(value)] = kind()
            elif name != "_compiled_call_impl":
                inside[name] = self._attribute(value)
        if vars(old).get("_compiled_call_impl") is not None:
            vars(new)["forward"] = _apart(new.forward)
        return new

    def _attribute(self, value: Any) -> Any:
        kind = type(value)
        if kind not in _DICTS:
            return self._copy(value)
        # What takes a hook away again knows the dict that it is in.
        copied = self.memo[id(value)] = kind()
        for key, item in value.items():
            copied[key] = self._copy(item)
        return copied

    def _function(self, function: Any) -> Any:
        """A function whose closure, and whose modules and lists outside, are copies."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self._function(function.__func__), self._copy(function.__self__))
        if isinstance(function, functools.partial):
            return functools.partial(
                self._copy(function.func), *map(self._copy, function.args), **self._copy(function.keywords)
            )
        if isinstance(function, _CACHED):
            again = functools.lru_cache(**function.cache_parameters())(self._function(function.__wrapped__))
            return self.memo.setdefault(id(function), again)
        if not isinstance(function, types.FunctionType):
            return self._copy(function)
        if id(function) in self.memo:
            return self.memo[id(function)]
        outside, cells = function.__globals__, function.__closure__ or ()
        names = names_of(function.__code__) & outside.keys() if readable(function.__code__.co_filename) else set()
        # Functions of one file go on sharing what is outside of them.
        inside = self.memo.setdefault(id(outside), dict(outside)) if names else outside
        new = types.FunctionType(
            function.__code__, inside, function.__name__, None, tuple(types.CellType() for _ in cells) or None
        )
        new.__dict__.update(function.__dict__)
        self.memo[id(function)] = new
        new.__defaults__, new.__kwdefaults__ = self._copy(function.__defaults__), self._copy(function.__kwdefaults__)
        for mine, cell in zip(new.__closure__ or (), cells, strict=True):
            try:
                mine.cell_contents = self._copy(cell.cell_contents)
            except ValueError:
                continue  # nothing is in it yet
        for name in names:
            inside[name] = self._outside(outside[name], outside)
        return new

    def _outside(self, value: Any, outside: dict[str, Any]) -> Any:
        """What a function finds outside of it: a copy, but of what is another file's; and of what has no copies."""
        if isinstance(value, (types.FunctionType, _CACHED)) and inspect.unwrap(value).__globals__ is not outside:
            return value
        try:
            return self._copy(value)
        except Exception:
            return value


def _is_counted(tensor: Tensor) -> bool:
    """Whether floats are whole numbers that differ: a mask, one-hot vectors, lengths."""
    if tensor.is_meta or not tensor.numel():
        return False
    some = tensor.detach().flatten()[:97]
    return all(bool(part.equal(part.round())) for part in (some, tensor.detach())) and bool(tensor.min() < tensor.max())


def _is_plain(kind: type) -> bool:
    """Whether all of an object is its attributes: its class is written in Python, and says nothing of copies."""
    names = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__deepcopy__")
    own = any(getattr(kind, name, None) is not getattr(object, name, None) for name in names)
    return not own and all(
        base is object or (base.__flags__ & 1 << 9 and "__slots__" not in vars(base)) for base in kind.__mro__
    )


def _apart(forward: Callable[..., Any]) -> Callable[..., Any]:
    """What is compiled in the call that is shown, as the one step that it is there: it is known by its name."""

    def compile_wrapper(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    return compile_wrapper
