"""A call's steps, as a tree of the expressions that asked for them."""

import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.trace import recorder
from vitcourse.trace.node import NOWHERE, Node, Site
from vitcourse.trace.recorder import (
    DECIDING,
    NUMBERS,
    PLAIN,
    RESHAPES,
    SCALAR,
    SEQUENTIAL,
    Entry,
    Ref,
    Watch,
    decides,
    tensors_in,
    tensors_of,
)
from vitcourse.trace.source import Place, called, place_of
from vitcourse.trace.turns import Made

# Before Python 3.12 it costs less to take the hook off while the tracer works than to have it called for each call.
_PAUSES = sys.version_info < (3, 12)


def _sizeless(name: str, value: Any) -> bool:
    """Whether what is no tensor, but not what it is worth, is all that a function's sizes depend on."""
    if name == "__getitem__" and type(value) is tuple:
        return all(type(part) is int or part is None or (type(part) is slice and part == slice(None)) for part in value)
    return type(value) in (tuple, list) and all(isinstance(part, Tensor) for part in value)


class Recorder(Watch):
    """Runs one call and keeps the steps it took."""

    def __init__(self, also_shown: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.root = Node(NOWHERE, "", 0, (0, 0))
        # The last error of a function of torch, and the call: its name and its arguments.
        self.refused: tuple[Any, ...] = (None,)
        # The first step of which data decides the sizes.
        self.data: int | None = None
        self.also_shown = also_shown
        self._open: list[tuple[FrameType, int, Node]] = []
        self._places: dict[FrameType, int] = {}
        # The steps that took something else than tensors, which may say sizes.
        self._told: set[int] = set()
        # What stands where torch was called.
        self._sites: dict[tuple[int, int], Site] = {}
        # The frame whose step was the last, and the step that it is in.
        self._last: tuple[FrameType | None, Node] = (None, self.root)
        self.busy = True
        self._hook: Callable[..., Any] | None = None

    def info(self, code: Any) -> tuple[Any, bool, bool]:
        info = super().info(code)
        if not info[1] and code.co_filename in self.also_shown:
            info = self._shown[id(code)] = (code, True, info[2])
        return info

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function and record its steps."""
        self.base, self._hook = sys._getframe(), self.hook
        before = sys.getprofile()
        try:
            with self:
                self.busy = False
                sys.setprofile(self._hook)
                try:
                    return function(*args, **kwargs)
                finally:
                    self.busy = True
                    sys.setprofile(before)
        finally:
            self._close(0)
            # A frame holds what it runs: a circle would wait for Python's collector, with all that was recorded.
            self.base, self._hook, self._last = None, None, (None, self.root)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = self._names.get(func)
        if name is None:
            name = self.name(func)
        if not name or self.busy:
            return func(*args, **kwargs) if kwargs else func(*args)
        if _PAUSES:
            sys.setprofile(None)
        self.busy = True
        try:
            result = func(*args, **kwargs) if kwargs else func(*args)
            try:
                self._step(sys._getframe(1), name, args, kwargs, result)
            except Exception:
                if recorder.strict:
                    raise
            return result
        except Exception as error:
            self.refused = error, name, args, kwargs or {}
            raise
        finally:
            self.busy = False
            if _PAUSES:
                sys.setprofile(self._hook)

    def _step(self, frame: FrameType, name: str, args: tuple[Any, ...], kwargs: Any, result: Any) -> None:
        if torch._C._get_tracing_state() is not None:
            # While torch.jit traces, sizes are tensors.
            return
        if self.data is None and name in DECIDING and decides(name, args, kwargs or {}):
            self.data = len(self.steps)
        entries: list[Entry] = []
        serial = len(self.steps)
        for value in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(value, Tensor):
                entries.append(self.entry(value))
            elif value is not None and (name not in SCALAR or type(value) not in NUMBERS):
                if type(value) not in PLAIN:
                    entries += map(self.entry, tensors_of((value,)))
                if not _sizeless(name, value):
                    self._told.add(serial)
        taken = len(entries)
        if type(result) is Tensor and not result.is_nested:
            entries.append(self.one(name, result))
        else:
            tensors = list(args[:1]) if name == "__setitem__" else tensors_in(result)
            if not tensors and name != "backward":
                return
            self.note(name, tensors)
            entries += map(self.entry, tensors)
        last, node = self._last
        if frame is not last:
            node = self._within(frame)
        key = id(frame.f_code), frame.f_lasti
        site = self._sites.get(key)
        if site is None:
            shown = self.info(frame.f_code)[1]
            site = self._sites[key] = place_of(frame, frame.f_lasti) if shown else NOWHERE, key
        if site[0] is not NOWHERE or node is not self.root:
            node.steps.append((name, site, serial, entries, taken))
            if name == "backward" and not node.results and site[0] is NOWHERE:
                node.shown = True

    def ended(self, frame: FrameType, value: Any) -> None:
        super().ended(frame, value)
        self._enter(frame)

    def unseen(self, frame: FrameType, back: FrameType, tensors: list[Tensor]) -> None:
        super().unseen(frame, back, tensors)
        self._enter(back)

    # Frames

    def _within(self, frame: FrameType) -> Node:
        """The innermost open step round a function of torch that a frame uses."""
        code = frame.f_code
        _, direct, comprehension = self._shown.get(id(code)) or self.info(code)
        if not direct:
            return self._enter(frame)
        place = self._places.get(frame)
        if place is not None and not code.co_flags & CO_GENERATOR:
            self._close(place)
            node = self._open[-1][2] if self._open else self.root
        else:
            node = self._enter(frame.f_back, comprehension)
        if not code.co_flags & CO_GENERATOR:
            self._last = frame, node
        return node

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
            node = Node(self._place(other, place), "", len(self.steps) - 1, (id(other.f_code), place))
            parent.steps.append(node)
            places[other] = len(self._open)
            self._open.append((other, place, node))
        self._last = (None, self.root)
        return self._open[-1][2] if self._open else self.root

    def _close(self, position: int) -> None:
        while len(self._open) > position:
            frame, _, node = self._open.pop()
            del self._places[frame]
            node.end = len(self.steps) - 1
            self._last = (None, self.root)

    def _place(self, frame: FrameType, lasti: int) -> Place:
        if frame.f_code is SEQUENTIAL:
            container, module = frame.f_locals["self"], frame.f_locals.get("module")
            found = next((name for name, child in container._modules.items() if child is module), "?")
            return Place(frame.f_code.co_filename, 0, f"[{found}] {type(module).__name__}")
        return place_of(frame, lasti)

    def returned(self, frame: FrameType, back: FrameType, value: Any) -> None:
        """What a call returned is the result of the expression that is open around it."""
        if self.busy:
            return
        self.busy = True
        try:
            super().returned(frame, back, value)
            position = self._places.get(back)
            if position is not None and self._open[position][1] == back.f_lasti:
                self._returned(position, frame, value)
        finally:
            self.busy = False

    def _returned(self, position: int, frame: FrameType, value: Any) -> None:
        node = self._open[position][2]
        self._close(position)
        name = frame.f_code.co_name
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and name in ("_wrapped_call_impl", "_call_impl", "__call__"):
            node.op, node.module = type(owner).__name__, owner
        elif name in ("backward", "step") or isinstance(owner, torch.optim.Optimizer):
            node.op, node.shown = "step" if name == "wrapper" else name, True
        else:
            node.op = called(frame, name)
        entries = [entry for t in tensors_in(value) if (entry := self._known.get(id(t))) and entry[0]() is t]
        if entries:
            node.results, node.kind, node.shown = tuple([ref for _, ref, _ in entries]), entries[0][2], True

    def made(self) -> Iterator[Made]:
        """What the steps were made of, where they took tensors, and nothing else that may say a size."""
        for above, (name, site, serial, entries, taken) in self.root.noted():
            if serial not in self._told and (name not in DECIDING or name == "__getitem__"):
                place = above, site[1], name
                yield serial, place, [(ref, id(known) if ref[0] < 0 else 0) for known, ref, _ in entries[:taken]]

    @cached_property
    def paths(self) -> list[Hashable]:
        """Where each step was taken: the places that lead to it."""
        paths: dict[int, Hashable] = {serial: (*above, site[1]) for above, (_, site, serial, *_) in self.root.noted()}
        return [paths.get(serial, ()) for serial in range(len(self.steps))]

    def reshaped(self, serial: int) -> Ref | None:
        """What a step has only laid out anew, if it did."""
        made = next((node for node in self.root.inside() if node.start == serial and node.operands), None)
        source = made.operands[0][1] if made is not None and made.op in RESHAPES else (-1, 0)
        return source if source[0] >= 0 else None
