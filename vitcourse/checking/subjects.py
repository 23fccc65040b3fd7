"""What a check asks about: a learner's function or module beside the reference's, on the same inputs.

The learner's stands in a worker's process. Each question is a request, sent there and done here by the references; the
requests, and what was observed of the learner's, are the evidence of the check.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor

from vitcourse.worker.protocol import Slot
from vitcourse.worker.workshop import Observation, tensors_of

if TYPE_CHECKING:
    from vitcourse.checking.check import Check

# Two right ways to compute a float32 result differ by rounding: 5e-5 in a position table of 1,025 rows.
RTOL, ATOL = 1e-4, 1e-5


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
    message that holds the numbers naming, "start" for first values, "no reads" where no value of a tensor may be read,
    "own memory" where what comes back may have none in common with what was given, "groups" where parameters come back
    in groups whose number and order are free.
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
        __tracebackhide__ = True
        request = self._request(args, kwargs, count=count, keep=keep, leaves=leaves)
        seen = self.check.ask(request, rtol=rtol, atol=atol, expects=expects)
        self.check.fine(self.name, seen, args)
        if seen.changed:
            what = f"tensor {seen.changed[0]} is" if seen.changed[0] else "what a dict or a list holds is"
            raise CheckFailedError(
                f"{self.name} changed its input: {what} not the same after the call",
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
        """One of its modules: kind, the classes of torch.nn that it is, length, settings; {} where there is none."""
        found = self.structure["modules"].get(path, {})
        return found if isinstance(found, dict) else {}
