"""What the checks are written with: a learner's function or module beside the reference's, on the same inputs.

A check asks in this order and stops at the first thing that is wrong: can it be called as the contract says; are the
shapes right; do the invariants hold; are the values the reference's, with copied weights; do the gradients arrive; are
the dtypes kept. What is wrong comes out as one CheckFailedError.

The learner's code runs in a worker's process. Each question is a request, sent there and done here by the references;
the requests and what was observed of the learner's are kept as the evidence of the check.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from vitcourse.checking.findings import explained
from vitcourse.checking.likeness import likeness
from vitcourse.checking.sizes import Sizes
from vitcourse.checking.values import same
from vitcourse.course import Exercise
from vitcourse.worker.protocol import Other, Slot
from vitcourse.worker.workshop import Observation, tensors_of

# Two right ways to compute a float32 result differ by rounding: 5e-5 in a position table of 1,025 rows.
RTOL, ATOL = 1e-4, 1e-5
# A norm with torch's eps of 1e-5 is as right in a block as one with 1e-6.
NORMS = {"rtol": 1e-3, "atol": 3e-4}
LOW_PRECISION = {torch.bfloat16: (0.1, 0.1)}


class CheckFailedError(AssertionError):
    """A learner's answer is wrong. The headline is one sentence; the diagnosis, if there is one, says more.

    raised is the learner's exception, as data, where there was one.
    """

    def __init__(self, headline: str, diagnosis: str = "", raised: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{headline}\n{diagnosis}".rstrip())
        self.headline = headline
        self.diagnosis = diagnosis
        self.raised = raised or {}


class Side(Protocol):
    """Who answers requests: a worker, or a workshop in this process."""

    def answer(self, request: Mapping[str, Any]) -> Observation:
        """What was observed."""


@dataclass(frozen=True)
class Question:
    """One request, what was observed of the learner's answer, and how exactly numbers are compared.

    expects is what the check waits for where it isn't a result: "error" for a call that should be refused.
    """

    request: dict[str, Any]
    seen: Observation
    rtol: float = RTOL
    atol: float = ATOL
    expects: str = ""


class Inputs:
    """Where a check's inputs come from: fresh noise, from one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.seeds = torch.Generator().manual_seed(seed ^ 0x5EED)  # what a worker draws has nothing to do with ours

    def sizes(self, given: dict[str, int]) -> dict[str, int]:
        """The sizes that a check is asked with."""
        return given

    def randn(self, shape: tuple[int, ...]) -> Tensor:
        """Normal noise."""
        return torch.randn(shape, generator=self.generator)

    def worker_seed(self) -> int:
        """A seed for the random state in which one request is done."""
        return int(torch.randint(2**31, (), generator=self.seeds))


class Subject:
    """One thing that the exercise has written, beside the reference's: a function, a class or a module.

    Calling it calls the learner's, on copies of the tensors; `expected` calls the reference's on the same.
    """

    def __init__(self, check: "Check", name: str, target: Any) -> None:
        self.check, self.name, self.target = check, name, target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The learner's answer. CheckFailedError when it raises, changes its input or calls what it should build."""
        __tracebackhide__ = True
        return self.observe(*args, **kwargs).result

    def observe(
        self,
        *args: Any,
        count: bool = False,
        keep: str = "",
        rtol: float = RTOL,
        atol: float = ATOL,
        **kwargs: Any,
    ) -> Observation:
        """All that is seen of the learner's answer to a call that should succeed and leave its input alone.

        count counts products and softmaxes; keep keeps a module that comes back under this name.
        """
        __tracebackhide__ = True
        seen = self.check.ask(self._request(args, kwargs, count=count, keep=keep), rtol=rtol, atol=atol)
        self.check.fine(self.name, seen, args)
        if seen.changed:
            raise CheckFailedError(
                f"{self.name} changed its input: tensor {seen.changed[0]} is not the same after the call",
                "Operations that end in an underscore, += and assignments to x[...] work in place.",
            )
        return seen

    def expected(self, *args: Any, **kwargs: Any) -> Any:
        """The reference's answer."""
        return self.check.reference.answer(self._request(args, kwargs)).result

    def gradients(self, *args: Any, **kwargs: Any) -> tuple[Observation, Observation]:
        """The learner's and the reference's, with gradients along random directions."""
        __tracebackhide__ = True
        expected = self.expected(*args, **kwargs)
        along = [self.check.inputs.randn(tuple(p.shape)) for p in tensors_of(expected) if p.is_floating_point()]
        request = self._request(args, kwargs, along=along)
        seen = self.check.ask(request, 1e-3, 1e-4)
        self.check.fine(f"the backward pass of {self.name}", seen, args)
        return seen, self.check.reference.answer(request)

    def to(self, dtype: torch.dtype) -> "Subject":
        """The same in another dtype; a function is what it was."""
        if not isinstance(self.target, Slot):
            return self
        return self._copy(dtype)

    def copy(self) -> "Subject":
        """A module of its own with the same values."""
        return self._copy(None)

    def train(self, training: bool = True) -> Self:
        """Put both modules into training mode, or into evaluation mode."""
        self.check.both({"do": "mode", "slot": self.target.name, "training": training}, self.name)
        return self

    def load(self, **values: Tensor) -> Self:
        """Give both modules these values, by names in which __ may stand for a dot."""
        tensors = {name.replace("__", "."): value for name, value in values.items()}
        self.check.both({"do": "load", "slot": self.target.name, "tensors": tensors}, self.name)
        return self

    def values(self) -> dict[str, Tensor]:
        """The learner's parameters and buffers."""
        found = self.check.ask({"do": "values", "slot": self.target.name}).result
        return dict(found) if isinstance(found, dict) else {}

    def _copy(self, dtype: torch.dtype | None) -> "Subject":
        slot = self.check.new_slot()
        self.check.both({"do": "cast", "slot": self.target.name, "new": slot.name, "dtype": dtype}, self.name)
        return type(self)(self.check, self.name, slot)

    def _request(self, args: Any, kwargs: Any, **more: Any) -> dict[str, Any]:
        seed = self.check.inputs.worker_seed()
        return {"do": "call", "target": self.target, "args": args, "kwargs": kwargs, "seed": seed, **more}


class Module(Subject):
    """A module of the exercise's class; structure says what the learner's holds."""

    structure: dict[str, Any]

    def part(self, path: str) -> dict[str, Any]:
        """One of its modules: kind, the classes of torch.nn that it is, length, settings such as stride; {} for none."""
        found = self.structure["modules"].get(path, {})
        return found if isinstance(found, dict) else {}


class Check:
    """One exercise of one set of chapters, being checked against the references."""

    def __init__(self, exercise: Exercise, learner: Side, reference: Side, inputs: Inputs, read: Any = None) -> None:
        self.exercise = exercise
        self.learner, self.reference = learner, reference
        self.inputs = inputs
        self.read: dict[str, Any] = read or {}
        self.s = Sizes()
        self.questions: list[Question] = []
        self._slots = 0

    # inputs

    def sizes(self, **given: int) -> Sizes:
        """Set the sizes by which shapes are read from here on; pairwise different, so that no swap can hide."""
        self.s = Sizes(**self.inputs.sizes(given))
        return self.s

    def randn(self, pattern: str) -> Tensor:
        """Fresh normal noise, of the shape that the symbols say."""
        return self.inputs.randn(self.s.shape(pattern))

    def order(self, symbol: str) -> Tensor:
        """A random order of so many things."""
        return torch.randperm(self.s.shape(symbol)[0], generator=self.inputs.generator)

    def labels(self, pattern: str, n_classes: int) -> Tensor:
        """Fresh random labels below n_classes."""
        return torch.randint(n_classes, self.s.shape(pattern), generator=self.inputs.generator)

    # subjects

    def get(self, name: str) -> Subject:
        """The function or the class of that name."""
        __tracebackhide__ = True
        found = self.ask({"do": "look", "module": self.exercise.module, "name": name}).result
        kind = found["kind"]
        if kind == "missing":
            raise CheckFailedError(f"{name} is missing from the chapter {self.exercise.module}")
        if kind not in ("function", "class", "module"):
            raise CheckFailedError(f"{name} is no function or class but {_article(kind)}")
        return Subject(self, name, (self.exercise.module, name))

    def module(self, name: str, **arguments: Any) -> Module:
        """The module of that class, made with these arguments, holding a randomised reference's parameters."""
        __tracebackhide__ = True
        subject = self.fresh(name, **arguments)
        reference = self._of_reference(subject)
        self._same_parameters(name, subject, reference)
        with torch.no_grad():
            tensors = {
                key: value + 0.3 * self.inputs.randn(tuple(value.shape)) for key, value in reference.named_parameters()
            }
        self.both({"do": "load", "slot": subject.target.name, "tensors": tensors}, name)
        return subject

    def fresh(self, name: str, **arguments: Any) -> Module:
        """The module as it starts, with its own initial parameters."""
        __tracebackhide__ = True
        self.get(name)
        slot = self.new_slot()
        request = {"do": "make", "slot": slot.name, "module": self.exercise.module, "name": name, "arguments": arguments}
        request["seed"] = self.inputs.worker_seed()
        self.reference.answer(request)
        seen = self.ask(request)
        self.fine(f"{name}.__init__", seen)
        if not seen.structure:
            raise CheckFailedError(f"{name} is not an nn.Module", "class NAME(nn.Module): is what makes it one.")
        subject = Module(self, name, slot)
        subject.structure = seen.structure
        return subject

    def build(self, kind: str, **description: Any) -> Slot:
        """Something that an exercise is given: a convolution, a probe to be trained, an optimizer."""
        slot = self.new_slot()
        self.both({"do": "build", "slot": slot.name, "kind": kind, **description}, kind)
        return slot

    def kept(self, slot: str, name: str) -> Subject:
        """What a call returned and the worker kept."""
        return Subject(self, name, Slot(slot))

    def solved(self, module: str, name: str) -> Any:
        """Something of the references, from any chapter: a check never needs a learner's other exercises."""
        return self.reference.find(module, name)  # type: ignore[attr-defined]

    # questions

    def shape(self, tensor: Any, pattern: str, what: str = "the result") -> None:
        """The tensor has the shape that the symbols say."""
        __tracebackhide__ = True
        if not isinstance(tensor, Tensor):
            raise CheckFailedError(_no_tensor(what, tensor), f"expected {self.s.named(pattern)}")
        if tuple(tensor.shape) != self.s.shape(pattern):
            told = self.s.told(tuple(tensor.shape), pattern)
            raise CheckFailedError(f"{what} has the wrong shape", f"expected {self.s.named(pattern)}\nyours    {told}")

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

    def close(
        self, mine: Any, expected: Any, otherwise: str, rtol: float = RTOL, atol: float = ATOL, diagnosis: str = ""
    ) -> None:
        """Two tensors, or tuples of tensors, agree within the tolerance."""
        __tracebackhide__ = True
        if isinstance(expected, tuple | list) and not all(isinstance(part, int | float) for part in expected):
            for index, part in enumerate(expected):
                self.close(mine[index], part, otherwise, rtol, atol)
            return
        mine, expected = _as_tensor(mine, otherwise), torch.as_tensor(expected).detach()
        if mine.shape == expected.shape and torch.allclose(mine.double(), expected.double(), rtol=rtol, atol=atol):
            return
        raise CheckFailedError(otherwise, f"{diagnosis}\n{_difference(mine, expected)}".strip())

    def same(self, subject: Subject, *args: Any, rtol: float = RTOL, atol: float = ATOL, **kwargs: Any) -> None:
        """The learner's answer has the values of the reference's, and has them at every call."""
        __tracebackhide__ = True
        expected = subject.expected(*args, **kwargs)
        mine = subject.observe(*args, rtol=rtol, atol=atol, **kwargs).result
        self._same_kind(subject.name, mine, expected)
        self.close(mine, expected, f"{subject.name} returns wrong values", rtol, atol)
        again = subject.observe(*args, rtol=rtol, atol=atol, **kwargs).result
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
        mine, expected = subject.gradients(*args, **kwargs)
        self._same_kind(subject.name, mine.result, expected.result)
        if not any(mine.attached):
            raise CheckFailedError(
                f"no gradient comes through {subject.name}", "Is something detached, or under torch.no_grad()?"
            )
        for name, reference in expected.gradients.items():
            if reference is None:
                continue
            own = mine.gradients.get(name)
            if own is None:
                raise CheckFailedError(
                    f"no gradient reaches {name} of {subject.name}", "Is it used, and is nothing detached on the way?"
                )
            scale = float(reference.abs().max())
            self.close(own, reference, f"the gradient of {name} is wrong", 1e-3, 1e-4 * max(scale, 1))

    def steady(self, subject: Subject, x: Tensor, when: str = "with dropout=0.0") -> None:
        """Two calls with the same input give the same: nothing is dropped."""
        __tracebackhide__ = True
        one, other = subject.observe(x), subject.observe(x)
        if one.draws and not same(one.result, other.result, RTOL, ATOL):
            raise CheckFailedError(
                f"two calls of {subject.name} with the same input differ {when}: dropout is on",
                "nn.Dropout(p) drops the share p in training mode, and nn.Dropout() by itself half; in evaluation mode it "
                "drops nothing, if it is made once, in __init__. F.dropout drops unless training=self.training is said.",
            )

    def starts(self, subject: Subject, name: str, deviation: tuple[float, float]) -> None:
        """A parameter of a fresh module starts as small noise around 0; where the least deviation is 0, zeros are right."""
        __tracebackhide__ = True
        request = {"do": "values", "slot": subject.target.name}
        values = self.ask(request, expects="start").result[name].double()
        mean, spread = float(values.mean()), float(values.std())
        least, most = deviation
        if spread == 0 and (mean != 0 or least > 0):
            what = f"as the constant {mean:.4g}, everywhere the same"
        elif not least <= spread <= most or abs(mean) > max(0.02, spread):
            what = f"with mean {mean:.2g} and standard deviation {spread:.2g}"
        elif least > 0 and self._a_table(values[0]):
            what = "as the sinusoidal table"
        else:
            return
        asked = "noise of mean 0 and standard deviation 0.02"
        raise CheckFailedError(
            f"{name} of {subject.name} starts {what}; it should start as small {asked}{'' if least else ' (or zeros)'}",
            "Initial values that are too large drown the patches; values that are all the same tell no position from another."
            if spread > most or spread == 0 else "",
        )

    def _a_table(self, values: Tensor) -> bool:
        """Whether neighbouring rows go on from one another, as sines and cosines do and noise doesn't."""
        steps = (values[1:] - values[:-1]).pow(2).mean()
        return float(steps) < 0.7 * float(2 * values.var())

    def dtypes(
        self,
        subject: Subject,
        *args: Any,
        or_float32: bool = False,
        rtol: float = RTOL,
        atol: float = ATOL,
        **kwargs: Any,
    ) -> None:
        """In float64 and in bfloat16 the answer keeps the dtype (or, where that is as right, is float32), and the values."""
        __tracebackhide__ = True
        for dtype, (rtol, atol) in {torch.float64: (rtol, atol), **LOW_PRECISION}.items():
            cast = subject.to(dtype)
            cast_args = tuple(
                arg.to(dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args
            )
            expected = _floats(cast.expected(*cast_args, **kwargs))
            mine = _floats(cast.observe(*cast_args, rtol=rtol, atol=atol, **kwargs).result)
            for own, reference in zip(mine, expected, strict=True):
                allowed = (reference.dtype, torch.float32) if or_float32 and dtype == torch.bfloat16 else (reference.dtype,)
                if own.dtype not in allowed:
                    raise CheckFailedError(
                        f"{subject.name} turns {_word(dtype)} into {_word(own.dtype)}",
                        "A tensor made on the way needs the dtype (and the device) of the input: "
                        "torch.arange(…, dtype=x.dtype, device=x.device), say.",
                    )
                self.close(own, reference, f"{subject.name} returns wrong values in {_word(dtype)}", rtol, atol)

    def raises(self, subject: Subject, *args: Any, naming: tuple[int, ...] = (), **kwargs: Any) -> None:
        """The call is refused with a ValueError whose message names these numbers."""
        __tracebackhide__ = True
        call = as_call(subject.name, args, kwargs)
        module = isinstance(subject.target, tuple) and self._is_module(subject)
        request = self._making(subject, args, kwargs) if module else subject._request(args, kwargs)
        seen = self.ask(request, expects="error")
        self._not_banned(subject.name, seen)
        if not seen.raised:
            raise CheckFailedError(f"{call} should raise ValueError, and didn't")
        if "ValueError" not in seen.raised["kinds"]:
            self.fine(call, seen, args, should="should raise ValueError, and raised")
        message = str(seen.raised["message"])
        missing = [number for number in naming if not re.search(rf"(?<!\d){number}(?!\d)", message)]
        if missing:
            raise CheckFailedError(
                f"the ValueError of {call} should name the numbers {', '.join(map(str, naming))}",
                f"yours says: {message}",
            )

    # how the learner's code is asked

    def ask(self, request: dict[str, Any], rtol: float = RTOL, atol: float = ATOL, expects: str = "") -> Observation:
        """Send a request to the learner's side, and keep what was observed as evidence."""
        seen = self.learner.answer(request)
        self.questions.append(Question(request, seen, rtol, atol, expects))
        return seen

    def both(self, request: dict[str, Any], name: str) -> Observation:
        """Have both sides do something that should succeed."""
        __tracebackhide__ = True
        self.reference.answer(request)
        seen = self.ask(request)
        self.fine(name, seen)
        return seen

    def fine(self, name: str, seen: Observation, args: Any = (), should: str = "raised") -> None:
        """Nothing was raised, and nothing called that the exercise builds."""
        __tracebackhide__ = True
        self._not_banned(name, seen)
        if seen.raised:
            headline, diagnosis = explained(name, seen.raised, self.read, self.exercise, should)
            shapes = ", ".join(self.s.told(tuple(arg.shape)) for arg in tensors_of(args))
            lines = [diagnosis, f"with tensors of shape {shapes}" if shapes else ""]
            raise CheckFailedError(headline, "\n".join(line for line in lines if line), raised=seen.raised)

    def new_slot(self) -> Slot:
        """A name that nothing in the worker has yet."""
        self._slots += 1
        return Slot(f"{self._slots}")

    def _not_banned(self, name: str, seen: Observation) -> None:
        __tracebackhide__ = True
        if seen.banned:
            raise CheckFailedError(
                f"{name} calls torch's own {seen.banned}: this exercise builds it; you called it"
            )

    def _is_module(self, subject: Subject) -> bool:
        kind = self.solved(*subject.target)
        return isinstance(kind, type) and issubclass(kind, nn.Module)

    def _making(self, subject: Subject, args: Any, kwargs: Any) -> dict[str, Any]:
        return {
            **{"do": "call", "target": subject.target, "args": args, "kwargs": kwargs},
            **{"seed": self.inputs.worker_seed(), "keep": self.new_slot().name},
        }

    def _of_reference(self, subject: Subject) -> nn.Module:
        thing = self.reference.things[subject.target.name]  # type: ignore[attr-defined]
        assert isinstance(thing, nn.Module)
        return thing

    def _same_parameters(self, name: str, subject: Module, reference: nn.Module) -> None:
        __tracebackhide__ = True
        own, held = subject.structure["parameters"], subject.structure
        expected = {key: tuple(value.shape) for key, value in reference.named_parameters()}
        buffers = {key: tuple(value.shape) for key, value in reference.named_buffers()}
        for key in (key for key in (*expected, *buffers) if key not in own and key in held["plain"]):
            kind = "self.register_buffer" if key in buffers else "nn.Parameter"
            what = "no buffer" if key in buffers else "not a parameter"
            raise CheckFailedError(
                f"{key} of {name} is a plain tensor, {what}",
                f"{kind} makes it one: a plain tensor doesn't move with the module"
                + (" and isn't saved." if key in buffers else ", isn't saved and is never trained."),
            )
        for key in (key for key in buffers if key in own):
            frozen = not own[key]["trained"]
            raise CheckFailedError(
                f"{key} of {name} is a {'frozen ' if frozen else ''}parameter; it should be a buffer",
                "self.register_buffer keeps a tensor that moves and is saved with the module"
                + ("." if frozen else ", and isn't trained."),
            )
        for key, hidden in ((key, part) for key in expected for part in held["lists"] if key.startswith(f"{part}.")):
            if key not in own:
                raise CheckFailedError(
                    f"{hidden} of {name} is a plain list, which hides its modules",
                    "nn.ModuleList makes them known: without it they have no parameters that an optimizer sees.",
                )
        shared = {key: other for key, other in held["shared"].items() if key in expected}
        if shared:
            key, other = next(iter(shared.items()))
            raise CheckFailedError(
                f"{key} and {other} of {name} are one and the same parameter",
                "Each needs a layer of its own: here one layer stands in several roles.",
            )
        lines = [f"missing:   {key} {shape}" for key, shape in expected.items() if key not in own]
        lines += [f"not named: {key} {value['shape']}" for key, value in own.items() if key not in expected]
        if lines:
            raise CheckFailedError(f"the parameters of {name} are not those of the contract", "\n".join(lines))
        for key, shape in expected.items():
            if tuple(own[key]["shape"]) != shape:
                raise CheckFailedError(
                    f"the parameter {key} of {name} has the wrong shape",
                    f"expected {shape}\nyours    {tuple(own[key]['shape'])}",
                )
        frozen_names = [key for key in expected if not own[key]["trained"]]
        if frozen_names:
            raise CheckFailedError(
                f"the parameter {frozen_names[0]} of {name} is frozen", "With requires_grad=False it is never trained."
            )
        for key in reference.state_dict():
            if key not in own and not held["buffers"].get(key, {}).get("saved"):
                here = "is a buffer, but isn't saved" if key in held["buffers"] else "is missing from the state dict"
                raise CheckFailedError(
                    f"{key} of {name} {here}", "self.register_buffer, without persistent=False, puts a tensor there."
                )

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
            if not isinstance(mine, Tensor):
                raise CheckFailedError(_no_tensor(f"what {name} returns", mine))
            if mine.shape != expected.shape:
                told = [self.s.told(tuple(tensor.shape)) for tensor in (expected, mine)]
                lines = [f"expected {told[0]}", f"yours    {told[1]}", likeness(mine, expected)]
                raise CheckFailedError(f"{name} returns the wrong shape", "\n".join(line for line in lines if line))


def as_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as one would type it, with shapes for tensors."""
    words = [str(tuple(arg.shape)) if isinstance(arg, Tensor) else repr(arg) for arg in args]
    words += [f"{key}={value!r}" for key, value in kwargs.items()]
    return f"{name}({', '.join(words)})"


def _as_tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(type(number) in (bool, int, float) for number in numbers):
        wrong = next(number for number in numbers if type(number) not in (bool, int, float))
        raise CheckFailedError(what, f"yours is {_kind(wrong)}: is a return missing on one of the ways?" if wrong is None
                               else f"yours is {_kind(wrong)}")  # fmt: skip
    return torch.as_tensor(value)


def _floats(value: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_of(value) if tensor.is_floating_point()]


def _difference(mine: Tensor, expected: Tensor) -> str:
    if mine.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, yours {tuple(mine.shape)}"
    mine, expected = mine.double(), expected.double()
    if not torch.isfinite(mine).all() and torch.isfinite(expected).all():
        return f"{int((~torch.isfinite(mine)).sum())} of {mine.numel()} values are not finite (nan or inf)"
    off = (mine - expected).abs()
    flat = int(off.flatten().argmax())
    at = tuple(int(i) for i in np.unravel_index(flat, tuple(off.shape)))
    where = f", at {at}," if at and math.prod(off.shape) > 1 else ""
    return f"expected{where} {float(expected.flatten()[flat]):.6g}, yours {float(mine.flatten()[flat]):.6g}"


def _no_tensor(what: str, value: Any) -> str:
    if value is None:
        return f"{what} is None: a return is missing"
    return f"{what} is no tensor but {_kind(value)}"


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if isinstance(value, Other):
        return _article(value.kind)
    return "None" if value is None else _article(type(value).__name__)


def _article(kind: str) -> str:
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


Run = Callable[[Check], None]
