"""What a check asks about: a learner's function or module beside the reference's, on the same inputs.

The learner's stands in a worker's process. Each question is a request, sent there and done here by the references; the
requests, and what was observed of the learner's, are the evidence of the check.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from vitcourse.checking.findings import explained, places
from vitcourse.checking.sizes import Sizes
from vitcourse.course import Exercise, exercises
from vitcourse.worker.protocol import Slot
from vitcourse.worker.workshop import Observation, Workshop, floats_of, tensors_of

# Two right ways to compute a float32 result differ by rounding: 5e-5 in a position table of 1,025 rows.
RTOL, ATOL = 1e-4, 1e-5
# What a call can change for the whole program.
LEFT = {"gradients": "no gradient is computed any more", "default dtype": "new tensors have another dtype"}


class CheckFailedError(AssertionError):
    """A learner's answer is wrong. The headline is one sentence; the diagnosis, if there is one, says more.

    facts are what was seen: numbers, shapes, lines; they hold whatever the cause turns out to be. raised is the
    learner's exception, as data, where there was one.
    """

    def __init__(
        self, headline: str, diagnosis: str = "", facts: str = "", raised: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__("\n".join(part for part in (headline, diagnosis, facts) if part))
        self.headline = headline
        self.diagnosis = diagnosis
        self.facts = facts
        self.raised = raised or {}


class Side(Protocol):
    """Who answers requests: a worker, or a workshop in this process."""

    def answer(self, request: Mapping[str, Any]) -> Observation:
        """What was observed."""


@dataclass(frozen=True)
class Question:
    """One request, what was observed of the learner's answer, and how exactly numbers are compared.

    expects is what the check waits for where it isn't a result: "error" for a call that should be refused with a
    message that holds the numbers naming, "start" for first values, "start or zeros" where zeros are right too, "no
    reads" where no value of a tensor may be read, "own memory" where what comes back may have none in common with what
    was given, "groups" where parameters come back in groups whose number and order are free.
    """

    request: dict[str, Any]
    seen: Observation
    rtol: float = RTOL
    atol: float = ATOL
    expects: str = ""
    naming: tuple[int, ...] = ()


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


class Asking:
    """One exercise of one set of chapters, asked: the learner's code in its process, the references in this one."""

    def __init__(
        self, exercise: Exercise, learner: Side, reference: Workshop, inputs: Inputs, read: Any = None
    ) -> None:
        self.exercise = exercise
        self.learner, self.reference = learner, reference
        self.inputs = inputs
        self.read: dict[str, Any] = read or {}
        self.s = Sizes()
        self.norms: dict[str, float] = {}  # NORMS, once a learner's own block is part of what is asked
        self.questions: list[Question] = []
        self._slots = 0

    def solved(self, module: str, name: str) -> Any:
        """Something of the references, from any chapter: a check never needs a learner's other exercises."""
        return self.reference.find(module, name)

    def ask(
        self,
        request: dict[str, Any],
        rtol: float = RTOL,
        atol: float = ATOL,
        expects: str = "",
        naming: tuple[int, ...] = (),
    ) -> Observation:
        """Send a request to the learner's side, and keep what was observed as evidence."""
        seen = self.learner.answer(request)
        rtol, atol = max(rtol, self.norms.get("rtol", 0.0)), max(atol, self.norms.get("atol", 0.0))
        self.questions.append(Question(request, seen, rtol, atol, expects, naming))
        return seen

    def both(self, request: dict[str, Any], name: str) -> Observation:
        """Have both sides do something that should succeed."""
        self.reference.answer(request)
        seen = self.ask(request)
        self.fine(name, seen)
        return seen

    def fine(self, name: str, seen: Observation, args: Any = (), should: str = "raised") -> None:
        """Nothing was raised, no input changed, and nothing called that the exercise builds."""
        self._not_banned(name, seen)
        if seen.raised:
            headline, diagnosis = explained(name, seen.raised, self.read, self.exercise, should)
            shapes = ", ".join(self.s.told(tuple(arg.shape)) for arg in tensors_of(args))
            lines = [*places(seen.raised, self.read), f"with tensors of shape {shapes}" if shapes else ""]
            raise CheckFailedError(headline, diagnosis, "\n".join(line for line in lines if line), seen.raised)

        for left in seen.left:
            if left in LEFT:
                raise CheckFailedError(f"after {name}, {LEFT[left]}: that should be as it was")
        if seen.changed:
            what = f"tensor {seen.changed[0]} is" if seen.changed[0] else "what a dict or a list holds is"
            raise CheckFailedError(
                f"{name} changed its input: {what} not the same after the call",
                "Operations that end in an underscore, +=, -= and their like, and assignments to x[...] work in place.",
            )

    def new_slot(self) -> Slot:
        """A name that nothing in the worker has yet."""
        self._slots += 1
        return Slot(f"{self._slots}")

    def _home(self, name: str) -> str:
        """The chapter in which that name is written: the exercise's own, or an earlier one that it works on."""
        return next((entry.module for entry in exercises() if name in entry.names), self.exercise.module)

    def _not_banned(self, name: str, seen: Observation) -> None:
        if seen.banned:
            raise CheckFailedError(f"{name} calls torch's own {seen.banned}: this exercise builds it; you called it")


class Subject:
    """One thing that the exercise has written, beside the reference's: a function, a class or a module.

    Calling it calls the learner's, on copies of the tensors; `expected` calls the reference's on the same.
    """

    def __init__(self, check: Asking, name: str, target: Any) -> None:
        self.check, self.name, self.target = check, name, target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The learner's answer. CheckFailedError when it raises, changes its input or calls what it should build."""
        return self.observe(*args, **kwargs).result

    def observe(
        self,
        *args: Any,
        count: bool = False,
        keep: str = "",
        leaves: bool = False,
        expects: str = "",
        rtol: float = RTOL,
        atol: float = ATOL,
        **kwargs: Any,
    ) -> Observation:
        """All that is seen of the learner's answer to a call that should succeed and leave its input alone.

        count counts products and softmaxes; keep keeps a module that comes back under this name; leaves gives tensors
        that ask for gradients; expects is the question's.
        """
        request = self._request(args, kwargs, count=count, keep=keep, leaves=leaves)
        seen = self.check.ask(request, rtol=rtol, atol=atol, expects=expects)
        self.check.fine(self.name, seen, args)
        return seen

    def expected(self, *args: Any, **kwargs: Any) -> Any:
        """The reference's answer."""
        return self.check.reference.answer(self._request(args, kwargs)).result

    def gradients(self, *args: Any, **kwargs: Any) -> tuple[Observation, Observation]:
        """The learner's and the reference's, with gradients along random directions."""
        expected = self.expected(*args, **kwargs)
        along = [self.check.inputs.randn(tuple(p.shape)) for p in floats_of(expected)]
        request = self._request(args, kwargs, along=along)
        seen = self.check.ask(request, 1e-3, 1e-4)
        self.check.fine(f"the backward pass of {self.name}", seen, args)
        return seen, self.check.reference.answer(request)

    def to(self, dtype: torch.dtype) -> "Subject":
        """The same in another dtype; a function is what it was."""
        if not isinstance(self.target, Slot):
            return self
        slot = self.check.new_slot()
        self.check.both({"do": "cast", "slot": self.target.name, "new": slot.name, "dtype": dtype}, self.name)
        return type(self)(self.check, self.name, slot)

    def train(self, training: bool = True) -> Self:
        """Put both modules into training mode, or into evaluation mode."""
        self.check.both({"do": "mode", "slot": self.target.name, "training": training}, self.name)
        return self

    def watch(self) -> Self:
        """Note from here on how the modules of both run; "run" events tell it."""
        self.check.both({"do": "watch", "slot": self.target.name}, self.name)
        return self

    def freeze(self, *names: str) -> Self:
        """Let these parameters of both take no gradients."""
        self.check.both({"do": "freeze", "slot": self.target.name, "names": list(names)}, self.name)
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

    def _request(self, args: Any, kwargs: Any, **more: Any) -> dict[str, Any]:
        seed = self.check.inputs.worker_seed()
        return {"do": "call", "target": self.target, "args": args, "kwargs": kwargs, "seed": seed, **more}


class Module(Subject):
    """A module of the exercise's class; structure says what the learner's holds."""

    structure: dict[str, Any]

    def part(self, path: str) -> dict[str, Any]:
        """One of its modules: the classes of torch.nn that it is, length, settings; {} where there is none."""
        found = self.structure["modules"].get(path, {})
        return found if isinstance(found, dict) else {}
