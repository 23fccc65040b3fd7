"""One run of a call at other sizes or on other data, as long as it takes the steps of the run that is shown."""

import sys
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from contextvars import copy_context
from math import prod
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from vitcourse.trace.copies import Copies
from vitcourse.trace.follow import Axes, Follower
from vitcourse.trace.recorder import (
    COUNTING,
    QUESTIONS,
    READS,
    UNCHECKED,
    Sizes,
    Step,
    Watch,
    decides,
    mapped,
    named_results,
    sizes_of,
    tensors_in,
)
from vitcourse.trace.source import Place, place_of, raised_in
from vitcourse.trace.turns import Turns

# A step that makes more, 64 MB of float32, isn't run to try sizes.
MOST_IN_A_STEP = 2**24
# Nor does a run go on that has made more in all, or four times what the call makes: all of it may be kept.
MOST_IN_A_RUN = 2**28
# What has more numbers, 32 MB of float32, or four times those of the module itself, isn't made to try sizes.
MOST_IN_A_MODULE = 2**23
# A kernel of more places isn't moved over an image with more products than that.
LARGE_KERNEL, MOST_PRODUCTS = 2**10, 2**28
_CONVOLUTIONS = {f"conv{transposed}{n}d" for n in (1, 2, 3) for transposed in ("", "_transpose")}
# A module that asks torch so often while it is made fills a table in a loop, which takes seconds, and then minutes.
MOST_CALLS = 20_000
# What torch's own code reads, how many of a packed batch there are say, has to fit what its kernels read.
_TORCH = torch.__path__[0]


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
        # Made in the run, or kept for it: copies where sizes are followed, else the sizes of tensors alone.
        self.copies: Copies | None = None
        self.held: dict[int, Sizes] = {}
        # The axes of what the call gave, as far as they were followed.
        self.results: list[Axes] = []
        self.error: BaseException | None = None
        self.place: Place | None = None
        self.strays: dict[int, tuple[Tensor, Tensor]] = {}
        # What tells all of the run from its first steps; and whether it didn't.
        self.turns: Turns | None = None
        self.unsure = False
        # Where each step of the run that is shown was taken, in a run whose loops have more turns; where it has been.
        self.paths: list[Hashable] = []
        self.been: set[Hashable] = set()
        # The sizes along which there are more, in the run that is shown and in this one; and what came out in the end.
        self.longer: list[tuple[int, int]] = []
        self.outcome: list[Sizes] = []
        # The steps that may be too large at these sizes.
        self.heavy: set[int] = set()
        self.room = MOST_IN_A_RUN
        # What was made, kept alive, so that what nobody saw being made can be told from it.
        self.made: list[Tensor] = []

    @property
    def elsewhere(self) -> bool:
        """Whether its last step is none of the run that is shown: not one that was too large to be taken."""
        place = len(self.steps) - 1
        return place >= 0 and not (place < len(self.main) and alike(self.steps[-1], self.main[place]))

    def note(self, name: str, tensors: list[Tensor]) -> int:
        """Keep a step's sizes, and what is known of them; another step than the one that is shown ends the run."""
        place = len(self.steps)
        step = (name, *map(sizes_of, tensors))
        self.steps.append(step)
        if place >= len(self.main) or not alike(step, self.main[place]):
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
        if not name or self.busy:
            return func(*args, **(kwargs or {}))
        if name in UNCHECKED:
            _require_width(args)
        elif name in _CONVOLUTIONS:
            _require_few_products(args)
            if "transpose" in name and args[0].shape[1 - args[1].ndim] != args[1].shape[0]:
                raise RuntimeError("weights of another width, of which torch's meta device doesn't complain")
        if len(self.steps) in self.heavy and not self.meta and name not in UNCHECKED:
            # A recurrent network makes little, and on tensors without numbers takes a step of Python for each of time.
            _weigh(func, args, kwargs or {})
        if self.meta or self.contrary:
            result, args, kwargs = self._otherwise(name, func, args, kwargs or {})
        else:
            result = func(*args, **kwargs) if kwargs else func(*args)
        if self.heavy and not self.meta:
            self.room -= sum(tensor.numel() for tensor in tensors_in(result))
            if self.room < 0:
                raise Parted
        if type(result) is Tensor and not self.opaque and not result.is_nested and not self.paths:
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
            # Of more turns the further ones are left out; what takes an axis apart gives more in these runs, too.
            count = self._counted(self._path(sys._getframe(1)), len(tensors)) if self.paths else len(tensors)
            if count is not None:
                self.note(name, tensors[:count])
            if self.follower is not None:
                self.follower.steps[-1:] = [self.follower.steps[-1][:count]] if count is not None else []
        return result

    def _path(self, frame: FrameType) -> tuple[tuple[int, int], ...]:
        """The places in shown code that lead to a frame's, its own last; none, where no shown code does."""
        code = frame.f_code
        _, direct, comprehension = self.info(code)
        places, inside = [(id(code), frame.f_lasti)], comprehension and direct
        while (back := frame.f_back) is not None and back is not self.base:
            frame, code = back, back.f_code
            _, shown, comprehension = self.info(code)
            if shown:
                if not inside:
                    places.append((id(code), frame.f_lasti))
                inside = comprehension
        return tuple(reversed(places)) if direct or len(places) > 1 else ()

    def _counted(self, path: Hashable, found: int) -> int | None:
        """How many results a step has in the run that is shown, of those that it has in this one.

        None for one of a further turn: this run has been there, and the one that is shown isn't there now. More results
        than there are more turns are something else: the pieces of a width that leaves a rest, say.
        """
        place = len(self.steps)
        if place < len(self.main) and path == self.paths[place]:
            self.been.add(path)
            count = len(self.main[place]) - 1
            along = (found * old == count * new or found - count == new - old for old, new in self.longer)
            if found != count and not any(along):
                raise Parted
            return count
        if not path or path not in self.been:
            raise Parted
        return None

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
            result = _cut(result, kwargs.get("dim") or 0, self.contrary)
        elif contrary and name in READS and not sys._getframe(2).f_code.co_filename.startswith(_TORCH):
            result = mapped(result, lambda number: _smaller(number, self.contrary))
        return result, args, kwargs

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], opaque: bool) -> None:
        """Call the function; what it raises is kept."""
        before, enough = sys.getprofile(), self.turns.enough if self.turns is not None else len(self.main)
        self.base, self.opaque, self.main = sys._getframe(), opaque, self.main[:enough]
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
                result = copy_context().run(function, *args, **kwargs)
            self.outcome = [sizes_of(tensor) for tensor in named_results(result)] if self.longer else []
            if self.follower is not None:
                self.results = self.follower.ended(tensors_in(result))
            self.made.clear()
        except (Exception, SystemExit, Parted) as error:
            if self.turns is not None and len(self.steps) > enough:
                whole = self.turns.all_of(self.steps[:enough])
                self.steps, self.unsure = whole or self.steps, whole is None
                return
            if (found := raised_in(error)) is not None:
                self.place = place_of(found.tb_frame, found.tb_lasti)
            # Its frames hold all that was made.
            self.error = error.with_traceback(None)
            error.__context__ = error.__cause__ = None
        finally:
            self.base = None


def _without_numbers(value: Any, made: dict[int, tuple[Tensor, Tensor]]) -> Any:
    """The same arguments, with tensors on torch's meta device; of one tensor one, which is kept in `made`."""

    def put(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.is_meta:
            return value
        if id(value) not in made:
            made[id(value)] = (value, torch.empty_like(value, device="meta"))
        return made[id(value)][1]

    return mapped(value, put)


def _require_width(args: tuple[Any, ...]) -> None:
    """Refuse, as torch does of most, what a kernel would read past the end of weights of another width."""
    weights = next((part for part in args if isinstance(part, tuple | list) and part[0].ndim == 2), None)
    if weights is not None and args[0].shape[-1] != weights[0].shape[-1]:
        raise RuntimeError("weights of another width")


def _require_few_products(args: tuple[Any, ...]) -> None:
    """End a run before a convolution that takes minutes: of a large kernel with a large image."""
    image, weight = args[:2] if len(args) > 1 else (None, None)
    large = isinstance(weight, Tensor) and prod(weight.shape[2:]) > LARGE_KERNEL
    if large and image.numel() * weight.numel() > MOST_PRODUCTS * image.shape[1]:
        raise Parted


def _weigh(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """End a run before a step that would fill the memory."""
    if tensors_in([*args, *kwargs.values()]) and _most((args, kwargs)) <= MOST_IN_A_STEP:
        return
    args, kwargs = _without_numbers((args, kwargs), {})
    try:
        with torch.device("meta"):
            count = sum(tensor.numel() for tensor in tensors_in(func(*args, **kwargs)))
    except Exception:
        # What needs numbers is done with as many as there are.
        return
    if count > MOST_IN_A_STEP:
        raise Parted


def _most(value: Any) -> float:
    """As many numbers as a function can make of these tensors at most, each with each, repeated along three axes."""
    if isinstance(value, Tensor):
        return 1 if is_lazy(value) else 1 + value.numel()
    if isinstance(value, int | float):
        return (1 + abs(value)) ** 3
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return 1
    return prod(map(_most, value))


class Weighed(TorchFunctionMode):
    """Where a module is made at other sizes: all pairs of places fill the memory, a loop over them takes minutes.

    So do hundreds of layers: a module of more numbers in all than `most` isn't made either.
    """

    def __init__(self, most: float) -> None:
        super().__init__()
        self.calls, self.room = 0, most

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in QUESTIONS:
            # What leaves torch.no_grad(), an end of this run too, is one of them.
            return func(*args, **(kwargs or {}))
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Parted
        _weigh(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if func in _device_constructors() and isinstance(result, Tensor):
            self.room -= result.numel()
            if self.room < 0:
                raise Parted
        return result


def _fewer(value: Any, count: int) -> Any:
    """A mask, or what is asked where it isn't zero, with places less; and of a slice a later start, an earlier end."""
    if isinstance(value, Tensor) and value.ndim:
        places = value.nonzero()[-count:]
        if len(places):
            value = value.clone()
            value[tuple(places.T)] = 0
    elif isinstance(value, slice):
        start, stop = value.start, value.stop
        start = int(start) + count if isinstance(start, Tensor) else start
        return slice(start, _smaller(int(stop), count) if isinstance(stop, Tensor) else stop, value.step)
    return value


def _cut(result: Any, along: int, count: int) -> Any:
    """The results of a function that counts what is in a tensor, had there been less."""
    if isinstance(result, Tensor):
        return result.narrow(along, 0, max(result.shape[along] - count, 1)) if result.ndim else result
    size = tensors_in(result)[0].shape
    return tuple(_cut(part, 0, count) if part.shape[:1] == size[:1] else part for part in result)


def _smaller(number: Any, count: int) -> Any:
    return max(number - count, 1) if type(number) is int and number > 1 else number


def alike(mine: Step, other: Step) -> bool:
    """Whether two steps are the same, but for their sizes."""
    return mine[0] == other[0] and [*map(len, mine[1:])] == [*map(len, other[1:])]
