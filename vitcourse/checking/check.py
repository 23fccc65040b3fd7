"""What the checks are written with: a learner's function or module beside the reference's, on the same inputs.

A check asks in this order and stops at the first thing that is wrong: can it be called as the contract says; are the
shapes right; do the invariants hold; are the values the reference's, with copied weights; do the gradients arrive; are
the dtypes kept. What is wrong comes out as one CheckFailedError.
"""

import copy
import math
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitcourse.checking.detectors import likeness
from vitcourse.codesets import BrokenChapterError, CodeSet
from vitcourse.course import Exercise

# Two right ways to compute a float32 result differ by rounding: 5e-5 in a position table of 1,025 rows.
RTOL, ATOL = 1e-4, 1e-5
LOW_PRECISION = {torch.float64: (RTOL, ATOL), torch.bfloat16: (0.1, 0.1)}


class CheckFailedError(AssertionError):
    """A learner's answer is wrong. The headline is one sentence; the diagnosis, if there is one, says more.

    misconception is the name of the known wrong answer that this one is, and cause what is said of it, once found.
    """

    misconception = ""
    cause = ""

    def __init__(self, headline: str, diagnosis: str = "") -> None:
        super().__init__(f"{headline}\n{diagnosis}".rstrip())
        self.headline = headline
        self.diagnosis = diagnosis


class RaisedError(CheckFailedError):
    """A learner's code raised an exception where it should have returned; the exception is the __cause__."""


class Sizes:
    """The sizes of one check by the course's symbols, with those that follow from them: gh, gw, N, T, dh, M."""

    def __init__(self, **given: int) -> None:
        known = dict(given)
        if {"gh", "gw", "P"} <= known.keys():
            known.setdefault("H", known["gh"] * known["P"])
            known.setdefault("W", known["gw"] * known["P"])
        if {"gh", "gw"} <= known.keys():
            known.setdefault("N", known["gh"] * known["gw"])
        if "N" in known:
            known.setdefault("T", known["N"] + 1)
        if {"h", "dh"} <= known.keys():
            known.setdefault("D", known["h"] * known["dh"])
        if {"D", "ratio"} <= known.keys():
            known.setdefault("M", known["ratio"] * known["D"])
        self.known = known

    def __getattr__(self, symbol: str) -> int:
        try:
            return int(self.__dict__["known"][symbol])
        except KeyError:
            raise AttributeError(symbol) from None

    def shape(self, pattern: str) -> tuple[int, ...]:
        """The sizes of a pattern of symbols: "B N C*P*P" -> (2, 77, 75)."""
        return tuple(self._size(axis) for axis in pattern.split())

    def named(self, pattern: str) -> str:
        """A pattern with its sizes, to be read: "(B=2, N=77, C·P·P=75)"."""
        axes = [axis.replace("*", "·") if axis.isdecimal() else f"{axis.replace('*', '·')}={self._size(axis)}"
                for axis in pattern.split()]  # fmt: skip
        return f"({', '.join(axes)})"

    def recognised(self, shape: tuple[int, ...], pattern: str) -> str:
        """A shape with the pattern's symbols, where it is the pattern in another order; else its numbers."""
        symbols = {self._size(axis): axis for axis in pattern.split()}
        if len(symbols) == len(shape) and sorted(symbols) == sorted(shape):
            return self.named(" ".join(symbols[size] for size in shape))
        return str(shape)

    def _size(self, axis: str) -> int:
        size = sum(math.prod(self._factor(f) for f in term.split("*")) for term in axis.split("+"))
        return size

    def _factor(self, word: str) -> int:
        return int(word) if word.isdecimal() else int(self.known[word])


class Subject:
    """One thing that the exercise has written, beside the reference's: a function, a class or a module.

    Calling it calls the learner's, on copies of the tensors; `expected` calls the reference's on the same.
    """

    def __init__(self, check: "Check", name: str, mine: Callable[..., Any], reference: Callable[..., Any]) -> None:
        self.check = check
        self.name = name
        self.mine = mine
        self.reference = reference

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The learner's answer. CheckFailedError when it raises, changes its input or calls what it should build."""
        __tracebackhide__ = True
        own_args, own_kwargs = _cloned(args), _cloned(kwargs)
        result = self.check.guarded(self.name, lambda: self.mine(*own_args, **own_kwargs), *args)
        for number, (before, after) in enumerate(zip(_tensors(args), _tensors(own_args), strict=True), start=1):
            if before.shape != after.shape or not torch.equal(before, after):
                raise CheckFailedError(
                    f"{self.name} changed its input: tensor {number} is not the same after the call",
                    "Operations that end in an underscore, += and assignments to x[...] work in place.",
                )
        return result

    def expected(self, *args: Any, **kwargs: Any) -> Any:
        """The reference's answer."""
        return self.reference(*_cloned(args), **_cloned(kwargs))

    def to(self, dtype: torch.dtype) -> "Subject":
        """The same in another dtype; a function is what it was."""
        if isinstance(self.mine, nn.Module) and isinstance(self.reference, nn.Module):
            return Subject(
                self.check, self.name, copy.deepcopy(self.mine).to(dtype), copy.deepcopy(self.reference).to(dtype)
            )
        return self

    def parameters(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, the learner's and the reference's, for every parameter of the reference."""
        if isinstance(self.mine, nn.Module) and isinstance(self.reference, nn.Module):
            mine = dict(self.mine.named_parameters())
            for name, reference in self.reference.named_parameters():
                yield name, mine[name], reference


class Check:
    """One exercise of one set of chapters, being checked against the references."""

    def __init__(self, exercise: Exercise, code: CodeSet, reference: CodeSet) -> None:
        self.exercise = exercise
        self.code = code
        self._reference = reference
        # The same code gets the same verdict every time.
        self._generator = torch.Generator().manual_seed(zlib.crc32(exercise.id.encode()))
        self.s = Sizes()
        # All that the learner's code returned so far: by this a wrong answer is compared with the known ones.
        self.transcript: list[list[Any]] = []

    # inputs

    def sizes(self, **given: int) -> Sizes:
        """Set the sizes by which shapes are read from here on; pairwise different, so that no swap can hide."""
        self.s = Sizes(**given)
        return self.s

    def randn(self, pattern: str) -> Tensor:
        """Fresh normal noise, of the shape that the symbols say."""
        return torch.randn(self.s.shape(pattern), generator=self._generator)

    def order(self, symbol: str) -> Tensor:
        """A random order of so many things."""
        return torch.randperm(self.s.shape(symbol)[0], generator=self._generator)

    def labels(self, pattern: str, n_classes: int) -> Tensor:
        """Fresh random labels below n_classes."""
        return torch.randint(n_classes, self.s.shape(pattern), generator=self._generator)

    # subjects

    def get(self, name: str) -> Subject:
        """The function or the class of that name."""
        return Subject(self, name, self._mine(name), getattr(self._reference.module(self.exercise.module), name))

    def module(self, name: str, **arguments: Any) -> Subject:
        """The module of that class, made with these arguments, holding a randomised reference's parameters."""
        __tracebackhide__ = True
        kind = self.get(name)
        reference = kind.reference(**arguments)
        with torch.no_grad():
            for parameter in reference.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=self._generator))
        mine = self.guarded(f"{name}.__init__", lambda: kind.mine(**arguments))
        if not isinstance(mine, nn.Module):
            raise CheckFailedError(f"{name} is not an nn.Module")
        self._copy_parameters(name, mine, reference)
        return Subject(self, name, mine, reference)

    def fresh(self, name: str, **arguments: Any) -> nn.Module:
        """The learner's module as it starts, with its own initial parameters."""
        __tracebackhide__ = True
        module = self.guarded(f"{name}.__init__", lambda: self._mine(name)(**arguments))
        if not isinstance(module, nn.Module):
            raise CheckFailedError(f"{name} is not an nn.Module")
        return module

    def solved(self, module: str, name: str) -> Any:
        """Something of the references, from any chapter: a check never needs a learner's other exercises."""
        return getattr(self._reference.module(module), name)

    # questions

    def shape(self, tensor: Any, pattern: str, what: str = "the result") -> None:
        """The tensor has the shape that the symbols say."""
        __tracebackhide__ = True
        if not isinstance(tensor, Tensor):
            raise CheckFailedError(f"{what} is no tensor but {_kind(tensor)}", f"expected {self.s.named(pattern)}")
        if tuple(tensor.shape) != self.s.shape(pattern):
            raise CheckFailedError(
                f"{what} has the wrong shape",
                f"expected {self.s.named(pattern)}\nyours    {self.s.recognised(tuple(tensor.shape), pattern)}",
            )

    def pair(self, value: Any, what: str) -> tuple[Any, Any]:
        """The value is a pair, such as output and weights."""
        __tracebackhide__ = True
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise CheckFailedError(f"expected a pair, {what}, and got {_kind(value)}")
        return value[0], value[1]

    def true(self, condition: bool, otherwise: str, diagnosis: str = "") -> None:
        """The condition holds."""
        __tracebackhide__ = True
        if not condition:
            raise CheckFailedError(otherwise, diagnosis)

    def close(self, mine: Any, expected: Any, otherwise: str, rtol: float = RTOL, atol: float = ATOL) -> None:
        """Two tensors, or tuples of tensors, agree within the tolerance."""
        __tracebackhide__ = True
        if isinstance(expected, tuple | list):
            for index, part in enumerate(expected):
                self.close(mine[index], part, otherwise, rtol, atol)
            return
        mine = mine.detach() if isinstance(mine, Tensor) else torch.as_tensor(mine)
        expected = expected.detach() if isinstance(expected, Tensor) else torch.as_tensor(expected)
        if mine.shape != expected.shape:
            lines = [f"expected shape {tuple(expected.shape)}, yours {tuple(mine.shape)}"]
        elif not torch.allclose(mine.double(), expected.double(), rtol=rtol, atol=atol):
            lines = [_difference(mine.double(), expected.double(), rtol, atol)]
        else:
            return
        lines.append(likeness(mine, expected, self.s.known))
        raise CheckFailedError(otherwise, "\n".join(line for line in lines if line))

    def same(self, subject: Subject, *args: Any, rtol: float = RTOL, atol: float = ATOL, **kwargs: Any) -> None:
        """The learner's answer has the values of the reference's, and has them at every call."""
        __tracebackhide__ = True
        expected = subject.expected(*args, **kwargs)
        mine = subject(*args, **kwargs)
        self._same_kind(subject.name, mine, expected)
        self.close(mine, expected, f"{subject.name} returns wrong values", rtol, atol)
        again = subject(*args, **kwargs)
        self.close(again, mine, f"{subject.name} returns something else at a second call with the same input")

    def independent(self, subject: Subject, batch: Tensor) -> None:
        """What comes out for one image of the batch doesn't depend on the others."""
        __tracebackhide__ = True
        together = subject(batch)
        for index in range(len(batch)):
            alone = subject(batch[index : index + 1])
            self.close(
                together[index : index + 1],
                alone,
                f"{subject.name} gives another result for an image when other images are in the batch",
            )

    def gradients(self, subject: Subject, *args: Any, **kwargs: Any) -> None:
        """The gradients of every parameter and of every input are the reference's."""
        __tracebackhide__ = True
        own_args, reference_args = _leaves(args), _leaves(args)
        expected = _floats(subject.reference(*reference_args, **kwargs))
        mine = _floats(self.guarded(subject.name, lambda: subject.mine(*own_args, **kwargs), *args))
        directions = [torch.randn(part.shape, generator=self._generator) for part in expected]
        for _, own, reference in subject.parameters():
            own.grad = reference.grad = None
        torch.autograd.backward(_along(expected, directions))
        total = _along(mine, directions)
        if not total.requires_grad:
            raise CheckFailedError(
                f"no gradient comes through {subject.name}", "Is something detached, or under torch.no_grad()?"
            )
        self.guarded(f"the backward pass of {subject.name}", lambda: torch.autograd.backward(total))
        pairs = [(name, own.grad, reference.grad) for name, own, reference in subject.parameters()]
        pairs += [
            (f"input {number}", own.grad, reference.grad)
            for number, (own, reference) in enumerate(
                zip(_tensors(own_args), _tensors(reference_args), strict=True), start=1
            )
        ]
        for name, own_grad, reference_grad in pairs:
            if reference_grad is None:
                continue
            if own_grad is None:
                raise CheckFailedError(
                    f"no gradient reaches {name} of {subject.name}", "Is it used, and is nothing detached on the way?"
                )
            scale = float(reference_grad.abs().max())
            self.close(own_grad, reference_grad, f"the gradient of {name} is wrong", 1e-3, 1e-4 * max(scale, 1))

    def dtypes(self, subject: Subject, *args: Any, **kwargs: Any) -> None:
        """In float64 and in bfloat16 the answer keeps the dtype, and the values."""
        __tracebackhide__ = True
        for dtype, (rtol, atol) in LOW_PRECISION.items():
            cast = subject.to(dtype)
            cast_args = tuple(
                arg.to(dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args
            )
            expected = _floats(cast.expected(*cast_args, **kwargs))
            mine = _floats(cast(*cast_args, **kwargs))
            for own, reference in zip(mine, expected, strict=True):
                if own.dtype != reference.dtype:
                    raise CheckFailedError(
                        f"{subject.name} turns {_word(dtype)} into {_word(own.dtype)}",
                        "A tensor made on the way needs the dtype (and the device) of the input.",
                    )
                self.close(own, reference, f"{subject.name} returns wrong values in {_word(dtype)}", rtol, atol)

    def raises(self, subject: Subject, *args: Any, naming: tuple[int, ...] = (), **kwargs: Any) -> None:
        """The call is refused with a ValueError whose message names these numbers."""
        __tracebackhide__ = True
        call = _as_call(subject.name, args, kwargs)
        try:
            subject(*args, **kwargs)
        except RaisedError as error:
            cause = error.__cause__
            if not isinstance(cause, ValueError):
                raise CheckFailedError(
                    f"{call} should raise ValueError, and raised {type(cause).__name__}", error.diagnosis
                ) from cause
            missing = [number for number in naming if not re.search(rf"(?<!\d){number}(?!\d)", str(cause))]
            if missing:
                raise CheckFailedError(
                    f"the ValueError of {call} should name the numbers {', '.join(map(str, naming))}",
                    f"yours says: {cause}",
                ) from cause
            return
        raise CheckFailedError(f"{call} should raise ValueError, and didn't")

    # how the learner's code is called

    def guarded(self, name: str, call: Callable[[], Any], *args: Any) -> Any:
        """Call the learner's code; what it raises comes out as one RaisedError with its line."""
        __tracebackhide__ = True
        try:
            # A seed of its own for every call: what a learner's code draws doesn't change what the check draws.
            with _Ban(self.exercise.builds, name), torch.random.fork_rng(devices=[]):
                torch.manual_seed(len(self.transcript))
                result = call()
            self.transcript.append(_noted(result))
            return result
        except (CheckFailedError, BrokenChapterError):
            raise
        except Exception as error:
            shapes = ", ".join(str(tuple(arg.shape)) for arg in _tensors(args))
            lines = [f"raised at {where}" if (where := self.code.line_of(error)) else ""]
            lines.append(f"with tensors of shape {shapes}" if shapes else "")
            message = " ".join(str(error).split())
            headline = f"{name} raised {type(error).__name__}: {message}" if message else f"{name} raised {error!r}"
            raise RaisedError(headline, "\n".join(line for line in lines if line)) from error

    def _mine(self, name: str) -> Callable[..., Any]:
        module = self.code.module(self.exercise.module)
        if not hasattr(module, name):
            raise CheckFailedError(f"{name} is missing from {self.code.shown(self.code.file(self.exercise.module))}")
        found = getattr(module, name)
        if getattr(found, "__module__", "").startswith("solutions.") and self.code.name != "solutions":
            raise CheckFailedError(f"{name} comes from solutions: this exercise builds it; you called it")
        if not callable(found):
            raise CheckFailedError(f"{name} is no function or class but {_kind(found)}")
        return found  # type: ignore[no-any-return]

    def _copy_parameters(self, name: str, mine: nn.Module, reference: nn.Module) -> None:
        __tracebackhide__ = True
        own = dict(mine.named_parameters())
        expected = dict(reference.named_parameters())
        lines = [f"missing:   {key} {tuple(value.shape)}" for key, value in expected.items() if key not in own]
        lines += [f"not named: {key} {tuple(value.shape)}" for key, value in own.items() if key not in expected]
        if lines:
            raise CheckFailedError(f"the parameters of {name} are not those of the contract", "\n".join(lines))
        for key, value in expected.items():
            if own[key].shape != value.shape:
                raise CheckFailedError(
                    f"the parameter {key} of {name} has the wrong shape",
                    f"expected {tuple(value.shape)}\nyours    {tuple(own[key].shape)}",
                )
        missing = [key for key in reference.state_dict() if key not in mine.state_dict()]
        if missing:
            raise CheckFailedError(
                f"{missing[0]} is missing from the state dict of {name}", "self.register_buffer puts a tensor there."
            )
        with torch.no_grad():
            for key, value in expected.items():
                own[key].copy_(value)

    def _same_kind(self, name: str, mine: Any, expected: Any) -> None:
        __tracebackhide__ = True
        if isinstance(expected, tuple):
            self.true(
                isinstance(mine, tuple | list) and len(mine) == len(expected),
                f"{name} should return {len(expected)} things, and returned {_kind(mine)}",
            )
            for own, part in zip(mine, expected, strict=True):
                self._same_kind(name, own, part)
        elif isinstance(expected, Tensor):
            self.true(isinstance(mine, Tensor), f"{name} should return a tensor, and returned {_kind(mine)}")
            if mine.shape != expected.shape:
                lines = [f"expected {tuple(expected.shape)}", f"yours    {tuple(mine.shape)}"]
                lines.append(likeness(mine, expected, self.s.known))
                raise CheckFailedError(f"{name} returns the wrong shape", "\n".join(line for line in lines if line))


class _Ban(TorchFunctionMode):
    """While it is active, none of the named torch functions may be called: the exercise builds them."""

    def __init__(self, names: tuple[str, ...], caller: str) -> None:
        super().__init__()
        self.names = names
        self.caller = caller

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.names:
            raise CheckFailedError(f"{self.caller} calls torch's own {name}: this exercise builds it; you called it")
        return func(*args, **(kwargs or {}))


def _noted(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, tuple | list):
        return [note for part in value for note in _noted(part)]
    if isinstance(value, nn.Linear):  # what 1.4 makes; a module of an exercise starts with noise and tells nothing
        return _noted(list(value.parameters()))
    return [value] if isinstance(value, bool | int | float | str | None) else [type(value).__name__]


def _cloned(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().clone())


def _leaves(value: Any) -> Any:
    return _mapped(value, lambda t: t.detach().clone().requires_grad_(t.is_floating_point()))


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_mapped(part, function) for part in value)
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    return value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def _floats(value: Any) -> list[Tensor]:
    return [tensor for tensor in _tensors(value) if tensor.is_floating_point()]


def _along(parts: list[Tensor], directions: list[Tensor]) -> Tensor:
    return torch.stack([(part * way).sum() for part, way in zip(parts, directions, strict=True)]).sum()


def _difference(mine: Tensor, expected: Tensor, rtol: float, atol: float) -> str:
    if not torch.isfinite(mine).all() and torch.isfinite(expected).all():
        return f"{int((~torch.isfinite(mine)).sum())} of {mine.numel()} values are not finite"
    off = (mine - expected).abs()
    wrong = int((off > atol + rtol * expected.abs()).sum())
    flat = int(off.flatten().argmax())
    at = tuple(int(i) for i in np.unravel_index(flat, tuple(off.shape)))
    where = f" at {at}" if at else ""
    return (
        f"{wrong} of {mine.numel()} values differ; the most{where}: "
        f"expected {float(expected.flatten()[flat]):.6g}, yours {float(mine.flatten()[flat]):.6g}"
    )


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _as_call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    words = [str(tuple(arg.shape)) if isinstance(arg, Tensor) else repr(arg) for arg in args]
    words += [f"{key}={value!r}" for key, value in kwargs.items()]
    return f"{name}({', '.join(words)})"
