"""The same call, run again at other sizes, as often as its sizes need to be told apart."""

import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from contextvars import copy_context
from io import StringIO
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from vitcourse.trace.copies import Call, Copies
from vitcourse.trace.follow import Follower
from vitcourse.trace.recorder import COUNTING, READS, Step, Watch, decides, mapped, sizes_of, tensors_in
from vitcourse.trace.sizes import FEW, chosen
from vitcourse.trace.source import Place, place_of, raised_in

# A model with more numbers than this is run on tensors without any, torch's meta device: slow by step, not by size.
LARGE = 10_000_000
# A step that makes more, 64 MB of float32, isn't run to try sizes.
MOST_IN_A_STEP = 2**24


class Parted(BaseException):
    """A run takes other steps than the one that is shown: it ends here."""


class Rehearsal(Watch):
    """One run at other sizes; with a follower, each of its steps is looked into.

    In a contrary one, data says something else: a mask has so many places less, a number that is read from a tensor is
    smaller. What depends on data then has other sizes than what depends on sizes alone.
    """

    def __init__(self, sizes: dict[str, int], meta: bool, main: list[Step], contrary: int) -> None:
        super().__init__()
        self.sizes, self.meta, self.main, self.contrary = sizes, meta, main, contrary
        self.follower: Follower | None = None
        self.copies: Copies | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.place: Place | None = None
        self.strays: dict[int, tuple[Tensor, Tensor]] = {}
        # The steps that may be too large at these sizes.
        self.heavy: set[int] = set()
        # What was made, kept alive, so that what nobody saw being made can be told from it.
        self.made: list[Tensor] = []

    def note(self, name: str, tensors: list[Tensor]) -> int:
        """Keep a step's sizes, and what is known of them; another step than the one that is shown ends the run."""
        place = len(self.steps)
        step = (name, *map(sizes_of, tensors))
        self.steps.append(step)
        if place >= len(self.main) or not _alike(step, self.main[place]):
            raise Parted
        if self.opaque:
            self.remember(tensors, place)
            self.made += tensors
        # Inputs, and what can't be looked into.
        if self.follower is not None and len(self.follower.steps) == place:
            self.follower.steps.append([self.follower.axes(tensor) for tensor in tensors])
        return place

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = self._names.get(func)
        if name is None:
            name = self.name(func)
        if not name:
            return func(*args, **(kwargs or {}))
        if len(self.steps) in self.heavy and not self.meta:
            _weigh(func, args, kwargs or {})
        if self.meta or self.contrary:
            result, args, kwargs = self._otherwise(name, func, args, kwargs or {})
        else:
            result = func(*args, **kwargs) if kwargs else func(*args)
        if type(result) is Tensor and not self.opaque and not result.is_nested:
            if self.follower is not None:
                self.follower.step(name, func, args, kwargs or {}, [result])
            serial = len(self.steps)
            main = self.main[serial] if serial < len(self.main) else ()
            self.steps.append((name, shape := result.shape))
            if len(main) != 2 or main[0] != name or len(main[1]) != len(shape):
                raise Parted
            return result
        tensors = list(args[:1]) if name == "__setitem__" else tensors_in(result)
        if tensors or name == "backward":
            if self.follower is not None:
                self.follower.step(name, func, args, kwargs or {}, tensors)
            self.note(name, tensors)
        return result

    def _otherwise(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a function of torch on tensors without numbers, or on other data; and its arguments."""
        if self.meta:
            args, kwargs = _without_numbers((args, kwargs), self.strays)
            if func in _device_constructors() and kwargs.get("device") is None:
                kwargs["device"] = "meta"
        contrary = self.contrary and decides(name, args, kwargs)
        if contrary and name not in COUNTING:
            args, kwargs = mapped((args, kwargs), lambda value: _fewer(value, self.contrary))
        result = func(*args, **kwargs)
        if contrary and name in COUNTING:
            result = _cut(result, kwargs.get("dim") or 0)
        elif contrary and name in READS:
            result = mapped(result, _smaller)
        return result, args, kwargs

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], opaque: bool) -> Any:
        """Call the function; what it raises is kept."""
        before = sys.getprofile()
        self.base, self.opaque = sys._getframe(), opaque
        try:
            for tensor in tensors_in([*args, *kwargs.values()]):
                self.note("input", [tensor])
            with ExitStack() as stack:
                if opaque:
                    # Nothing is compiled where nobody has loaded what compiles, which takes seconds.
                    if "torch._dynamo" in sys.modules:
                        stack.enter_context(torch.compiler.set_stance("force_eager"))
                    stack.callback(sys.setprofile, before)
                stack.enter_context(self)
                if opaque:
                    sys.setprofile(self.hook)
                return copy_context().run(function, *args, **kwargs)
        except (Exception, SystemExit, Parted) as error:
            self.error = error
            if (found := raised_in(error)) is not None:
                self.place = place_of(found.tb_frame, found.tb_lasti)
        return None


def _without_numbers(value: Any, made: dict[int, tuple[Tensor, Tensor]]) -> Any:
    """The same arguments, with tensors on torch's meta device; of one tensor one, which is kept in `made`."""

    def put(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.is_meta:
            return value
        if id(value) not in made:
            made[id(value)] = (value, torch.empty_like(value, device="meta"))
        return made[id(value)][1]

    return mapped(value, put)


def _weigh(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """End a run before a step that would fill the memory."""
    args, kwargs = _without_numbers((args, kwargs), {})
    try:
        with torch.device("meta"):
            count = sum(tensor.numel() for tensor in tensors_in(func(*args, **kwargs)))
    except Exception:
        # What needs numbers is done with as many as there are.
        return
    if count > MOST_IN_A_STEP:
        raise Parted


class Weighed(TorchFunctionMode):
    """Where a module is made at other sizes: a table of all pairs would fill the memory."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        _weigh(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _fewer(value: Any, count: int) -> Any:
    """A mask, or what is asked where it isn't zero, with places less; and a smaller number where it is an end."""
    if isinstance(value, Tensor) and value.ndim:
        places = value.nonzero()[-count:]
        if len(places):
            value = value.clone()
            value[tuple(places.T)] = 0
    elif isinstance(value, slice):
        return slice(*(_smaller(int(v)) if isinstance(v, Tensor) else v for v in (value.start, value.stop, value.step)))
    return value


def _cut(result: Any, along: int) -> Any:
    """The results of a function that counts what is in a tensor, had there been less."""
    if isinstance(result, Tensor):
        return result.narrow(along, 0, max(result.shape[along] - 1, 1)) if result.ndim else result
    size = tensors_in(result)[0].shape
    return tuple(_cut(part, 0) if part.shape[:1] == size[:1] else part for part in result)


def _smaller(number: Any) -> Any:
    return number - 1 if type(number) is int and number > 1 else number


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Runs leave no trace in what is printed or logged, and none in the state of chance."""
    state, level = (random.getstate(), numpy.random.get_state()), logging.root.manager.disable
    logging.disable()
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        try:
            with torch.random.fork_rng(devices=[]):
                yield
        finally:
            logging.disable(level)
            random.setstate(state[0])
            numpy.random.set_state(state[1])


class Rehearsals:
    """Runs of one call at other sizes, as many as tell its sizes apart."""

    def __init__(self, call: Call) -> None:
        self.call = call
        parameters = [p for _, module in call.modules for p in module.parameters() if not is_lazy(p)]
        self.meta = sum(p.numel() for p in parameters) > LARGE
        self.main: list[Step] = []
        self.failed = self.opaque = False
        self.contrary = 0
        # The runs that took the steps of the one that is shown; and what followed the sizes of one.
        self.turns: list[Rehearsal] = []
        self.follower: Follower | None = None
        # The symbols that could change, and how; and what stopped the others.
        self.ways: dict[str, str] = {}
        self.stopped: dict[str, Rehearsal] = {}
        # Sizes of the module that are one with a size of an input.
        self.tied: dict[str, str] = {}
        # Runs that went another way: their sizes, and the steps until then, which a name has to fit as well.
        self.parted: list[tuple[dict[str, int], list[Step]]] = []
        self.count = 0
        self._spare: Copies | None = None
        self._tried: dict[tuple[Any, ...], Rehearsal] = {}
        self._first: Copies | None = None

    def prepare(self) -> None:
        """Copy what the call uses, before the call, which may change what it is given."""
        with _unnoticed():
            first = Copies(self.call, self.call.sizes, self.meta)
            self.call, self.finished, self._first = first.call_of(), first.finished, first

    def run(self, main: list[Step], failed: bool, opaque: bool, data: int | None, decided: Callable[[], bool]) -> None:
        """Vary every symbol that can change, until `decided`; first with other data, where it matters."""
        self.main, self.failed, self.opaque, self.decided = main, failed, opaque, decided
        if self._first is None:
            # It can't be copied, and so not be run.
            return
        with _unnoticed(), self._first.shared:
            for self.contrary in (1, 0) if data is not None else (0,):
                symbols = [name for name in self.call.sizes if name != "h" or not self.call.heads]
                # Sizes without a symbol are varied only beside those with one, so as not to be taken for them.
                self._vary(symbols if any(not name.startswith("_") for name in symbols) else [])
                if self.turns:
                    if self.contrary and len(self.turns) > 1:
                        # At the sizes that are shown too: what data decides is then no expression of sizes.
                        self.contrary = 2
                        self._try({}, 0, True)
                    break
                self._tried.clear()

    def _vary(self, symbols: list[str]) -> None:
        """Every symbol at once, where the call allows it; else as many as can change, one after the other."""
        held, done = True, 0
        heads = {"h": "twice"} if self.call.heads else {}
        movable = symbols
        if self.finished:
            # The batch alone, while the module's own sizes are followed: that tells what must stay as it is.
            self._one_by_one(symbols[:1], heads)
            bound = self.follower.atoms.bound() if self.follower is not None else set()
            movable = [name for name in symbols if name not in bound and name not in self.stopped]
        rest = [name for name in movable if name not in self.ways]
        # A finished instance has sizes of its own: what it takes at all, it takes at any size.
        for way, held in (("free", False), ("free", True), ("small", True))[: 1 if self.finished else 3]:
            ways = {**self.ways, **dict.fromkeys(rest, way)}
            if rest and (self._try({**ways, **heads}, 0, held) or (heads and self._try(ways, 0, held))):
                before, self.ways, done = self.ways, self.last_ways, 1
                if self._again(1, held):
                    break
                # One run tells nothing apart.
                self.ways = before
        if not rest or not set(rest) <= self.ways.keys():
            self._one_by_one([name for name in rest if name not in self.ways], heads)
            self._tie(heads)
            symbols, movable = ([name for name in some if name not in self.tied] for some in (symbols, movable))
            if self.stopped and self.ways and movable and movable[-1] in self.ways:
                # The turns of a loop stay as many as they are.
                turns = {name for name, run in self.stopped.items() if len(run.steps) > len(self.main)}
                self._one_by_one([name for name in movable if name not in self.ways and name not in turns], {})
        if heads and "h" not in self.ways and self._try({**self.ways, **heads}, 0, True):
            self.ways = self.last_ways
        # What can't change has to be followed.
        self.finished = self.finished or not symbols or not set(symbols) <= self.ways.keys()
        if not self.turns:
            self._try({}, 0, True)
        for turn in range(1 + done, 5) if self.ways else ():
            followed = not self.finished or self.follower is not None
            if (followed and self.decided()) or (not self._again(turn, held) and followed):
                break

    def _again(self, turn: int, held: bool) -> bool:
        """Another run, with the symbols that can change; in other ways, where these sizes don't do."""
        ways = [
            # What was a multiple of what it is so far may be no multiple of anything.
            {name: "next" if way == "times" else way for name, way in self.ways.items()},
            self.ways,
            {name: "even" if way == "free" and name not in FEW else way for name, way in self.ways.items()},
            # Some are too large together.
            {name: {"free": "small", "times": "next"}.get(way, way) for name, way in self.ways.items()},
        ]
        return any(self._try(way, turn, held) for place, way in enumerate(ways) if way not in ways[:place])

    def _one_by_one(self, symbols: list[str], heads: dict[str, str]) -> None:
        for name in symbols:
            at: list[int] = []
            loops = False
            for way in ("free", "even", "times", "next"):
                # The turns of a loop are as many as this size: one more is all that is left to try.
                if loops and way != "next":
                    continue
                ways = {**self.ways, name: way}
                if (heads and not self.ways and self._try({**ways, **heads}, 0, True)) or self._try(ways, 0, True):
                    self.ways = self.last_ways
                    break
                # Stopped by the same step again, and not by being too small: by a size of its own.
                at.append(len(self.last.steps))
                larger = self.last.sizes[name] > self.call.sizes[name]
                if isinstance(self.last.error, Exception) and at.count(at[-1]) > 2 and larger:
                    break
                loops = len(self.last.steps) > len(self.main)
            if name not in self.ways:
                self.stopped[name] = self.last

    def _tie(self, heads: dict[str, str]) -> None:
        """A size of the module that can change only together with one of an input is that one."""
        said = {word for words in self.call.words.values() for word in words}
        own = {symbol for _, recipe in self.call.recipes for symbol in recipe.numbers.values()} - said
        for name in [name for name in self.stopped if name in own]:
            for other in [o for o in self.stopped if o in said and self.call.sizes[o] == self.call.sizes[name]]:
                self.tied[name] = other
                self._one_by_one([other], heads)
                if other in self.ways:
                    del self.stopped[name], self.stopped[other]
                    break
                del self.tied[name]

    def _try(self, ways: dict[str, str], turn: int, held: bool) -> bool:
        """One run; whether it took the steps of the run that is shown."""
        sizes = chosen(self.call.sizes, ways, turn, held)
        sizes |= {name: sizes[other] for name, other in self.tied.items()}
        key = tuple(sizes.values())
        if key in self._tried:
            self.last = self._tried[key]
            return False
        self.last_ways = ways
        copies = self._spare
        self.last = self._tried[key] = Rehearsal(sizes, self.meta, self.main, self.contrary)
        try:
            if copies is None or self.call.recipes:
                with Weighed() if self.call.recipes else ExitStack():
                    copies = Copies(self.call, sizes, self.meta, self._first)
            copies.sizes, self._spare = sizes, copies
            args, kwargs = copies.arguments()
            self.finished = self.finished or copies.finished
            if self.finished and self.follower is None:
                self.last.follower = Follower(self.call, copies, tensors_in([*args, *kwargs.values()]))
            self.count += 1
            # What is made for each pair of what is there grows with the square.
            growth = prod([max(1, size // self.call.sizes[name]) for name, size in sizes.items()]) ** 2
            most = MOST_IN_A_STEP // growth
            if growth > 1 and max(map(prod, {shape for step in self.main for shape in step[1:]}), default=0) > most:
                self.last.heavy = {i for i, s in enumerate(self.main) if max([0, *map(prod, s[1:])]) > most}
            self.last.result = self.last.run(copies.function, args, kwargs, self.opaque)
        except (Exception, Parted) as error:
            # What can't be copied, or not be made at these sizes, can't be run at them.
            self.last.error = error
        same = isinstance(self.last.error, Exception) == self.failed and len(self.last.steps) == len(self.main)
        if copies is None or not same or isinstance(self.last.error, Parted):
            steps = self.last.steps
            if (
                isinstance(self.last.error, Parted)
                and not self.contrary
                and steps
                and not (len(steps) <= len(self.main) and _alike(steps[-1], self.main[len(steps) - 1]))
            ):
                self.parted.append((sizes, steps[:-1]))
            return False
        self._spare, self.last.copies = None, copies
        self.turns.append(self.last)
        self.follower = self.follower or self.last.follower
        return True


def _alike(mine: Step, other: Step) -> bool:
    """Whether two steps are the same, but for their sizes."""
    return mine[0] == other[0] and [*map(len, mine[1:])] == [*map(len, other[1:])]
