"""Does what is asked of one set of chapters, and says all that can be observed: the same for a learner's and ours."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

# By their own names, so that an answer which puts another function into torch doesn't change what is observed of it.
from torch import (
    Tensor,
    equal,
    get_default_dtype,
    get_rng_state,
    is_grad_enabled,
    nn,
    set_default_dtype,
    set_grad_enabled,
)

from .bans import Bans
from .chapters import fault
from .protocol import LONGEST, Other, Part, Slot
from .things import convolution, descent, hooks, probe, structure, values, watched
from .watching import Calls, operations, reads, seeded


@dataclass
class Observation:
    """All that was seen of one request.

    result is what came back; attached, for each of its tensors, whether a gradient could flow through it; raised an
    exception as data; changed the numbers of the tensors in the arguments that are others now, 0 for a list or dict
    that is; shared the names of what came back in memory that was given; gradients those of the inputs ("input 1") and
    of the parameters, None where none arrived; structure what a module holds; things the state of what the worker made
    and the call was given; events what happened to it, in order.
    """

    result: Any = None
    attached: list[bool] = field(default_factory=list)
    raised: dict[str, Any] = field(default_factory=dict)
    changed: list[int] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    banned: str = ""
    reads: list[str] = field(default_factory=list)
    draws: bool = False
    products: int = 0
    softmaxes: int = 0
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    structure: dict[str, Any] = field(default_factory=dict)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def model(self) -> dict[str, Any]:
        """The state of the first thing that a call was given: of a training step, the model."""
        return next(iter(self.things.values()))


class Workshop:
    """Answers requests; find gives the object of a chapter by the chapter's module and its own name."""

    def __init__(self, find: Callable[[str, str], Any], bans: Bans | None = None, whole: bool = True) -> None:
        self.find = find
        self.bans = bans or Bans()
        self.whole = whole  # whether all is said of what a module holds, or only what evidence rests on
        self.catches: tuple[type[BaseException], ...] = (Exception, SystemExit)
        self.things: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []

    def answer(self, request: Mapping[str, Any]) -> Observation:
        """Do what the request says, by the method of that name; what the chapter's code raises is observed too."""
        about = dict(request)
        seen: Observation = getattr(self, about.pop("do"))(**about)
        return seen

    def look(self, module: str, name: str) -> Observation:
        """What stands under a name: its kind, and where it was defined."""
        seen = Observation()
        try:
            found = self.find(module, name)
        except AttributeError:
            seen.result = {"kind": "missing", "torch": False}
            return seen
        except self.catches as error:  # an earlier chapter that can't be imported
            seen.raised = fault(error)
            return seen
        kind = "class" if isinstance(found, type) else "function" if callable(found) else type(found).__name__
        if isinstance(found, type) and issubclass(found, nn.Module):
            kind = "module"
        torchs = str(getattr(found, "__module__", "") or "").partition(".")[0] == "torch"
        seen.result = {"kind": kind, "torch": torchs}
        return seen

    def signature(self, module: str, name: str, method: str = "") -> Observation:
        """The arguments that a method, say, takes by their places: each name, whether it has a default, and which."""
        seen = Observation()
        with suppress(*self.catches):
            found = self.find(module, name)
            parameters = inspect.signature(getattr(found, method) if method else found).parameters.values()
            places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
            seen.result = [[p.name, p.default is not p.empty, noted(p.default)] for p in places]
        return seen

    def make(self, slot: str, module: str, name: str, arguments: Mapping[str, Any], seed: int) -> Observation:
        """Make a module of a chapter's class and keep it in the slot."""
        seen = Observation()

        def make() -> Any:
            made = self.find(module, name)(**arguments)
            if isinstance(made, nn.Module):
                seen.structure = structure(made, self.whole)  # of a lazy layer, whose sizes nobody knows, there is none
            return made

        made = self._run(seen, make, seed)
        if seen.structure:
            self.things[slot] = made
        elif not seen.raised:
            seen.result = Other(type(made).__name__)
        return seen

    def build(self, slot: str, kind: str, **description: Any) -> Observation:
        """Make something that is no learner's: a convolution, a probe to be trained, an optimizer."""
        if kind == "convolution":
            self.things[slot] = convolution(description)
        elif kind == "probe":
            self.things[slot] = probe(description, self.events)
        else:
            model = self.things[description["of"]]
            self.things[slot] = descent(model, description["lr"], description.get("momentum", 0.0), self.events)
        return Observation()

    def load(self, slot: str, tensors: Mapping[str, Tensor]) -> Observation:
        """Copy these values into the parameters and buffers of these names."""
        thing = self.things[slot]
        own = dict((*thing.named_parameters(), *thing.named_buffers()))
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)
        return Observation()

    def values(self, slot: str) -> Observation:
        """Every parameter and buffer of a module."""
        return Observation(result=values(self.things[slot]))

    def mode(self, slot: str, training: bool) -> Observation:
        """Put a module into training or evaluation mode."""
        seen = Observation()
        self._run(seen, lambda: self.things[slot].train(training), 0)
        return seen

    def cast(self, slot: str, new: str, dtype: torch.dtype) -> Observation:
        """A copy of a module, in another dtype."""
        seen = Observation()
        self.things[new] = self._run(seen, lambda: copy.deepcopy(self.things[slot]).to(dtype), 0)
        return seen

    def watch(self, slot: str) -> Observation:
        """Note from here on how the modules of this model run: in which mode, and whether gradients are recorded."""
        watched(self.things[slot], self.events)
        return Observation()

    def freeze(self, slot: str, names: Sequence[str]) -> Observation:
        """Let these parameters take no gradients."""
        own = dict(self.things[slot].named_parameters())
        for name in names:
            own[name].requires_grad_(False)
        return Observation()

    def call(
        self,
        target: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        seed: int,
        along: Sequence[Tensor] | None = None,
        keep: str = "",
        count: bool = False,
        leaves: bool = False,
    ) -> Observation:
        """Call a chapter's function ((module, name)) or something that is kept (a Slot).

        along gives a direction for each tensor of floats that comes back: the gradients are those of the sum of the
        products. A module that comes back is kept in the slot keep. count counts products and softmaxes. With leaves
        the tensors of floats are given as leaves that ask for gradients, as parameters are.
        """
        seen = Observation()
        self.events.clear()
        leaves = leaves or along is not None
        own_args, own_kwargs = self._opened(args, leaves), self._opened(dict(kwargs), leaves)
        given, before, held = tensors_of(own_args), [t.detach().clone() for t in tensors_of(args)], layout(own_args)
        function = self.things[target.name] if isinstance(target, Slot) else self.find(*target)
        given_things = slots_of((args, kwargs))
        hung = [hooks(self.things[slot]) for slot in given_things]
        result = self._run(seen, lambda: function(*own_args, **own_kwargs), seed, count, bool(given_things))
        result = self._came_back(seen, result, given, given_things, keep)
        for number, (old, new) in enumerate(zip(before, given, strict=True), start=1):
            if old.shape != new.shape or not equal(old, new.detach()):
                seen.changed.append(number)
        if layout(own_args) != held:
            seen.changed.append(0)
        if along is not None and not seen.raised:
            self._differentiate(seen, result, along, given, function)
        for slot, before_it in zip(given_things, hung, strict=True):
            self._look_after(seen, slot, before_it)
        seen.events = copy.copy(self.events)
        return seen

    def _look_after(self, seen: Observation, slot: str, hung: int) -> None:
        """Note what a module that a call was given is like now, and whether more hooks hang on it than before."""
        thing = self.things[slot]
        if isinstance(thing, nn.Module):
            if hooks(thing) > hung:
                seen.left.append("hooks")
            seen.things[slot] = {"values": values(thing), "structure": structure(thing, self.whole)}

    def _came_back(self, seen: Observation, result: Any, given: list[Tensor], slots: list[str], keep: str) -> Any:
        """Note what a call gave back; it, or None where it can't be looked at."""
        try:
            if isinstance(result, nn.Module):
                self.things[keep] = result
                seen.structure, seen.result = structure(result, self.whole), Slot(keep)
            else:
                seen.result = noted(result, self._parts(slots))
                seen.attached = [tensor.requires_grad for tensor in tensors_of(result)]
            seen.shared = shared(result, [given, *(self.things[slot] for slot in slots)])
        except self.catches as error:  # a list in itself, a tensor larger than all memory, a __class__ that raises
            seen.result = Other(f"{type(result).__name__} that can't be looked at ({type(error).__name__})")
            return None
        return result

    def _run(
        self, seen: Observation, call: Callable[[], Any], seed: int, count: bool = False, watched: bool = False
    ) -> Any:
        """Call the chapter's code; note what it raises, draws, reads and leaves behind."""
        enabled, dtype = is_grad_enabled(), get_default_dtype()
        listening = [
            *([self.bans.told] if self.bans.names else ()),
            *([reads(seen.reads)] if watched else ()),
            *([operations(seen)] if count else ()),
        ]
        result = None
        with seeded(seed), Calls(*listening) if listening else nullcontext():
            start = get_rng_state()
            try:
                result = call()
            except self.catches as error:
                seen.raised = fault(error)
            seen.draws = not equal(start, get_rng_state())
        if is_grad_enabled() != enabled:
            seen.left.append("gradients")
            set_grad_enabled(enabled)
        if get_default_dtype() != dtype:
            seen.left.append("default dtype")
            set_default_dtype(dtype)
        seen.banned = self.bans.called
        return result

    def _differentiate(
        self, seen: Observation, result: Any, along: Sequence[Tensor], given: Sequence[Tensor], function: Any
    ) -> None:
        parts = floats_of(result)
        parameters = dict(function.named_parameters()) if isinstance(function, nn.Module) else {}
        for parameter in parameters.values():
            parameter.grad = None
        if [part.shape for part in parts] != [way.shape for way in along]:
            return
        total = torch.stack([(part * way).sum() for part, way in zip(parts, along, strict=True)]).sum()
        if total.requires_grad:
            try:
                total.backward()  # type: ignore[no-untyped-call]
            except Exception as error:
                seen.raised = fault(error)
                return
        seen.gradients = {name: _copy(parameter.grad) for name, parameter in parameters.items()}
        for number, tensor in enumerate(given, start=1):
            if tensor.is_floating_point():
                seen.gradients[f"input {number}"] = _copy(tensor.grad)

    def _parts(self, slots: Sequence[str]) -> dict[int, Part]:
        """Parameters and buffers of what is kept, by their identity."""
        modules = [(slot, self.things[slot]) for slot in slots if isinstance(self.things[slot], nn.Module)]
        return {id(tensor): Part(slot, name) for slot, module in modules for name, tensor in named_tensors(module)}

    def _opened(self, value: Any, leaves: bool) -> Any:
        """The arguments of a call: copies of the tensors, and what the slots hold."""
        if isinstance(value, Tensor):
            return value.detach().clone().requires_grad_(leaves and value.is_floating_point())
        if isinstance(value, Slot):
            return self.things[value.name]
        if isinstance(value, tuple | list):
            return type(value)(self._opened(part, leaves) for part in value)
        if isinstance(value, dict):
            return {key: self._opened(part, leaves) for key, part in value.items()}
        return value


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def noted(value: Any, parts: Mapping[int, Part] | None = None) -> Any:
    """A result as it can travel: copies of the tensors, containers of them, plain values; else the type's name.

    A tensor that is itself a part of something that the call was given travels as that part.
    """
    if parts and id(value) in parts:
        return parts[id(value)]
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        copies = [noted(part, parts) for part in value]
        return tuple(copies) if isinstance(value, tuple) else copies
    if isinstance(value, dict):
        return {str(key)[:LONGEST]: noted(part, parts) for key, part in value.items()}
    if isinstance(value, float):
        return float(value)
    if inspect.isgenerator(value):
        return Other("generator")
    if type(value) is str:
        return value[:LONGEST]
    return value if value is None or type(value) in (bool, int, torch.dtype) else Other(type(value).__name__)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in a tree of containers, in order, each with its path, such as 0.weight."""
    if isinstance(value, dict | tuple | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a tree of containers, in order."""
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, Tensor)]


def floats_of(value: Any) -> list[Tensor]:
    """Those of them that hold floats."""
    return [tensor for tensor in tensors_of(value) if tensor.is_floating_point()]


def named_tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a tree of containers and modules, each with its path."""
    for path, leaf in leaves(value):
        if isinstance(leaf, Tensor):
            yield path, leaf
        elif isinstance(leaf, nn.Module):
            yield from leaves(dict((*leaf.named_parameters(), *leaf.named_buffers())), path)


def shared(result: Any, given: Sequence[Any]) -> list[str]:
    """The paths of the tensors in a result that lie in memory of what was given."""

    def memory(value: Any) -> dict[str, int]:
        found = [(path, tensor) for path, tensor in named_tensors(value) if tensor.layout == torch.strided]
        return {path: tensor.untyped_storage().data_ptr() for path, tensor in found}

    known = set(memory(given).values()) - {0}
    return sorted(path for path, address in memory(result).items() if address in known)


def layout(value: Any) -> list[tuple[str, int]]:
    """Which objects stand where in a tree of containers: another one after a call tells that one was changed."""
    return [(path, id(leaf)) for path, leaf in leaves(value)]


def slots_of(value: Any) -> list[str]:
    """The names of the slots in a tree of containers."""
    return [leaf.name for _, leaf in leaves(value) if isinstance(leaf, Slot)]
