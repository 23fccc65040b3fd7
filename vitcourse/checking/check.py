"""What the checks are written with: a learner's function or module beside the reference's, on the same inputs.

A check asks in this order and stops at the first thing that is wrong: can it be called as the contract says; are the
shapes right; do the invariants hold; are the values the reference's, with copied weights; do the gradients arrive; are
the dtypes kept. What is wrong comes out as one CheckFailedError.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.checking import parameters
from vitcourse.checking.evidence import names, same, slack
from vitcourse.checking.sizes import Sizes
from vitcourse.checking.subjects import ATOL, RTOL, Asking, CheckFailedError, Module, Subject
from vitcourse.checking.wording import article, as_call, begun, described, difference, no_tensor, word
from vitcourse.worker.protocol import Slot
from vitcourse.worker.workshop import floats_of

BFLOAT16 = (0.1, 0.1)
# A norm with torch's eps of 1e-5 is as right in a block as one with 1e-6.
NORMS = {"rtol": 1e-3, "atol": 3e-4}


class Check(Asking):
    """One exercise of one set of chapters, being checked against the references."""

    # inputs

    def sizes(self, **given: int) -> Sizes:
        """Set the sizes by which shapes are read from here on; pairwise different, so that no swap can hide."""
        self.s = Sizes(**self.inputs.sizes(given))
        return self.s

    def randn(self, pattern: str) -> Tensor:
        """Fresh normal noise, of the shape that the symbols say."""
        return self.inputs.randn(self.s.shape(pattern))

    def order(self, symbol: str) -> Tensor:
        """A random order of so many things; not its own inverse, which hides which of the two is used, where one is."""
        count = self.s.shape(symbol)[0]
        order = torch.randperm(count, generator=self.inputs.generator)
        while count > 2 and torch.equal(order, order.argsort()):  # of one or two things, every order is
            order = torch.randperm(count, generator=self.inputs.generator)
        return order

    def labels(self, pattern: str, n_classes: int, *, distinct: bool = False) -> Tensor:
        """Fresh random labels below n_classes; distinct ones tell of each which it was, wherever it stands."""
        if distinct:
            return torch.randperm(n_classes, generator=self.inputs.generator)[: self.s.shape(pattern)[0]]
        return torch.randint(n_classes, self.s.shape(pattern), generator=self.inputs.generator)

    # subjects

    def get(self, name: str) -> Subject:
        """The function or the class of that name, in the chapter that writes it."""
        module = self._home(name)
        seen = self.ask({"do": "look", "module": module, "name": name})
        self.fine(f"importing {name}", seen)
        found = seen.result
        if not isinstance(found, dict):
            raise TypeError(f"what stands under {name} was not told")
        kind = found["kind"]
        if kind == "missing":
            near = self.read.get("like", {}).get(name, "")
            file = self.read.get("file", module) if module == self.exercise.module else f"{module}.py"
            raise CheckFailedError(
                f"{name} is missing from {file}", f"There is {near}: is the name misspelt?" if near else ""
            )
        if kind not in ("function", "class", "module"):
            raise CheckFailedError(f"{name} is no function or class but {article(kind)}")
        if found["torch"]:
            raise CheckFailedError(f"{name} is torch's own under another name: this exercise builds it; you called it")
        for method in ("", "forward") if kind == "module" else ("",):
            self._signed(module, name, method)
        return Subject(self, name, (module, name))

    def _signed(self, module: str, name: str, method: str) -> None:
        """Where both have them, arguments stand in the reference's order, and have its defaults.

        No evidence for what else is wrong: an answer may have arguments of its own.
        """
        request = {"do": "signature", "module": module, "name": name, "method": method}
        name = f"{name}.{method}".rstrip(".")
        mine, ours = (_arguments(side.answer(request).result) for side in (self.learner, self.reference))
        order = [argument for argument in mine if argument in ours]
        if order != [argument for argument in ours if argument in mine]:
            raise CheckFailedError(
                f"{name} takes its arguments in another order: ({', '.join(mine)}); it should be ({', '.join(ours)})",
                "They may be given by their places, without their names.",
            )
        for argument in order:
            (own_has, own), (has, default) = mine[argument], ours[argument]
            # None may stand for the right one.
            if own_has and has and type(own) in (bool, int, float, str, torch.dtype) and own != default:
                raise CheckFailedError(f"the default of {argument} of {name} is {own!r}; it should be {default!r}")

    def module(self, name: str, **arguments: Any) -> Module:
        """The module of that class, made with these arguments, holding a randomised reference's parameters."""
        subject = self.fresh(name, **arguments)
        reference = self.reference.things[subject.target.name]
        self.agree(name, subject, reference)
        with torch.no_grad():
            tensors = {
                key: value + _noise(value) * self.inputs.randn(tuple(value.shape))
                for key, value in reference.named_parameters()
            }
        own = subject.structure["parameters"]
        tensors = {k: v for k, v in tensors.items() if k in own and tuple(own[k]["shape"]) == tuple(v.shape)}
        self.both({"do": "load", "slot": subject.target.name, "tensors": tensors}, name)
        return subject

    def fresh(self, name: str, **arguments: Any) -> Module:
        """The module as it starts, with its own initial parameters."""
        self.get(name)
        slot = self.new_slot()
        request = {
            **{"do": "make", "slot": slot.name, "module": self._home(name), "name": name},
            **{"arguments": arguments, "seed": self.inputs.worker_seed()},
        }
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

    # questions

    def shape(self, tensor: Any, pattern: str, what: str = "the result") -> None:
        """The tensor has the shape that the symbols say."""
        if not isinstance(tensor, Tensor):
            raise CheckFailedError(no_tensor(what, tensor), facts=pattern and f"expected {self.s.named(pattern)}")
        if tuple(tensor.shape) != self.s.shape(pattern):
            told = self.s.told(tuple(tensor.shape), pattern)
            facts = f"expected {self.s.named(pattern)}\nyours    {told}"
            raise CheckFailedError(f"the shape of {what} is wrong", facts=facts)

    def pair(self, value: Any, what: str) -> tuple[Any, Any]:
        """The value is a pair, such as output and weights."""
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise CheckFailedError(f"expected a pair, {what}, and got {described(value)}")
        return value[0], value[1]

    def true(self, condition: bool, otherwise: str, diagnosis: str = "") -> None:
        """The condition holds."""
        if not condition:
            raise CheckFailedError(otherwise, diagnosis)

    def close(
        self, mine: Any, expected: Any, otherwise: str, rtol: float = RTOL, atol: float = ATOL, diagnosis: str = ""
    ) -> None:
        """Two tensors, or tuples of tensors, agree within the tolerance."""
        if isinstance(expected, tuple | list) and not all(isinstance(part, int | float) for part in expected):
            for index, part in enumerate(expected):
                self.close(mine[index], part, otherwise, rtol, atol)
            return
        mine, expected = _as_tensor(mine, otherwise), torch.as_tensor(expected).detach()
        if _near(mine, expected, rtol, atol):
            return
        raise CheckFailedError(otherwise, diagnosis, difference(mine, expected))

    def same(self, subject: Subject, *args: Any, rtol: float = RTOL, atol: float = ATOL, **kwargs: Any) -> None:
        """The learner's answer has the values of the reference's, and has them at every call."""
        expected = subject.expected(*args, **kwargs)
        mine = subject.observe(*args, rtol=rtol, atol=atol, **kwargs).result
        self._same_kind(subject.name, mine, expected)
        self.close(mine, expected, f"{subject.name} returns wrong values", rtol, atol)
        again = subject.observe(*args, rtol=rtol, atol=atol, **kwargs).result
        self.close(again, mine, f"{subject.name} returns something else at a second call with the same input")

    def in_evaluation(self, subject: Subject, x: Tensor) -> None:
        """In evaluation mode too the values are the reference's, where the mode is to change nothing."""
        mine, expected = subject.train(False)(x), subject.expected(x)
        self._same_kind(subject.name, mine, expected)
        self.close(
            mine,
            expected,
            f"{subject.name} returns wrong values in evaluation mode",
            diagnosis="Nothing here depends on the mode (self.training), or on what an earlier call has left.",
        )

    def independent(self, subject: Subject, batch: Tensor) -> None:
        """What comes out for one image of the batch doesn't depend on the others."""
        together = subject(batch)
        for index in range(len(batch)):
            one = batch[index : index + 1]
            self.alike(
                together[index : index + 1],
                subject(one),
                subject.expected(one),
                f"{subject.name} gives another result for an image when other images are in the batch",
            )

    def alike(self, mine: Any, other: Any, right: Tensor, otherwise: str) -> None:
        """Two results of the learner's are one; where they aren't, the one that is right is what was expected."""
        if _near(mine, right) and not _near(other, right):
            mine, other = other, mine
        self.close(mine, other, otherwise)

    def gradients(
        self, subject: Subject, *args: Any, near: float = 1e-4, of: Sequence[str] = (), **kwargs: Any
    ) -> None:
        """The gradients of every parameter and of every input are the reference's, within a share of the largest.

        of names those that are asked for, where that isn't all of them.
        """
        mine, expected = subject.gradients(*args, **kwargs)
        self._same_kind(subject.name, mine.result, expected.result)
        if not any(mine.attached):
            raise CheckFailedError(
                f"no gradient comes through {subject.name}", "Is something detached, or under torch.no_grad()?"
            )
        for name, reference in expected.gradients.items():
            if reference is None or (of and name not in of):
                continue
            own = mine.gradients.get(name)
            if own is None:
                raise CheckFailedError(
                    f"no gradient reaches {name} of {subject.name}", "Is it used, and is nothing detached on the way?"
                )
            scale = float(reference.abs().max())
            self.close(own, reference, f"the gradient of {name} is wrong", 10 * near, near * max(scale, 1))

    def steady(self, subject: Subject, x: Tensor, when: str = "with dropout=0.0") -> None:
        """Two calls with the same input give the same: nothing is dropped."""
        one, other = subject.observe(x), subject.observe(x)
        if one.draws and not same(one.result, other.result, RTOL, ATOL):
            raise CheckFailedError(
                f"two calls of {subject.name} with the same input differ {when}: dropout is on",
                "nn.Dropout(p) drops the share p in training mode, and nn.Dropout() by itself half; in evaluation "
                "mode it drops nothing, if it is made once, in __init__, as an attribute of its own. F.dropout needs "
                "training=self.training.",
            )

    def dropped(self, zeros: Tensor, p: float, what: str) -> None:
        """In training, the share p of some numbers is dropped, once."""
        share = float(zeros.double().mean())
        headline = f"in training with dropout={p:g}, {p:.0%} of {what} should be dropped, and {share:.0%} are"
        if zeros.any() and zeros.all(-1).equal(zeros.any(-1)):
            raise CheckFailedError(headline, "whole tokens are dropped, or whole images; it should be single numbers")
        if abs(share - (1 - (1 - p) ** 2)) < 0.06:
            meaning = f"that is what two dropouts of {p:g} drop, one after the other: it is dropped twice"
        else:
            meaning = "nothing is dropped there" if share < 0.02 else f"the dropout there is another than dropout={p:g}"
        self.true(abs(share - p) < 0.06, headline, meaning)

    def starts(self, subject: Subject, name: str, deviation: tuple[float, float]) -> None:
        """A parameter of a fresh module starts as small noise; where the least deviation is 0, zeros are right too."""
        request = {"do": "values", "slot": subject.target.name}
        least, most = deviation
        seen = self.ask(request, expects="start" if least else "start or zeros")
        how, why = begun(seen.result[name].double(), least, most)
        if how:
            asked = f"noise of mean 0 and standard deviation 0.02{'' if least else ' (or zeros)'}"
            raise CheckFailedError(f"{name} of {subject.name} starts {how}; it should start as small {asked}", why)
        # Of the others another question asks.
        self.questions[-1] = replace(self.questions[-1], seen=replace(seen, result={name: seen.result[name]}))

    def dtypes(
        self,
        subject: Subject,
        *args: Any,
        or_float32: bool = False,
        rtol: float = RTOL,
        atol: float = ATOL,
        **kwargs: Any,
    ) -> None:
        """In float64 and in bfloat16 the answer keeps the dtype, and the values.

        or_float32 lets float32 come back for either.
        """
        for dtype, (r, a) in {torch.float64: (rtol, atol), torch.bfloat16: BFLOAT16}.items():
            cast = subject.to(dtype)
            cast_args = tuple(
                arg.to(dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args
            )
            expected = floats_of(cast.expected(*cast_args, **kwargs))
            try:
                mine = floats_of(cast.observe(*cast_args, rtol=r, atol=a, **kwargs).result)
            except CheckFailedError as error:
                if dtype == torch.bfloat16 and no_kernel(error.raised):
                    continue
                raise
            for own, reference in zip(mine, expected, strict=True):
                fine = or_float32 and own.dtype == torch.float32
                if own.dtype != reference.dtype and not fine:
                    raise CheckFailedError(
                        f"{subject.name} turns {word(dtype)} into {word(own.dtype)}",
                        "Something on the way has a dtype of its own. A tensor that is made there takes the input's, "
                        "torch.arange(…, dtype=x.dtype, device=x.device), say; what is cast has to be cast back.",
                    )
                most = slack(reference.to(dtype), a)
                self.close(own, reference, f"{subject.name} returns wrong values in {word(dtype)}", r, most)

    def agree(self, name: str, subject: Module, reference: nn.Module) -> None:
        """The learner's module holds what the contract says."""
        parameters.compare(name, subject.structure, reference)

    def raises(self, subject: Subject, *args: Any, naming: tuple[int, ...] = (), **kwargs: Any) -> None:
        """The call is refused with a ValueError whose message names these numbers."""
        call = as_call(subject.name, args, kwargs)
        request = subject._request(args, kwargs, keep=self.new_slot().name)
        seen = self.ask(request, expects="error", naming=naming)
        self._not_banned(subject.name, seen)
        if not seen.raised:
            raise CheckFailedError(f"{call} should raise ValueError, and didn't")
        if "ValueError" not in seen.raised["kinds"]:
            self.fine(call, seen, args, should="should raise ValueError, and raised")
        message = str(seen.raised["message"])
        missing = [number for number in naming if not names(message, number)]
        if missing:
            raise CheckFailedError(
                f"the ValueError of {call} should name the numbers {', '.join(map(str, naming))}",
                f"yours says: {message}",
            )

    def _same_kind(self, name: str, mine: Any, expected: Any) -> None:
        if isinstance(expected, tuple):
            self.true(
                isinstance(mine, tuple | list) and len(mine) == len(expected),
                f"{name} should return {len(expected)} things, and returned {described(mine)}",
            )
            for own, part in zip(mine, expected, strict=True):
                self._same_kind(name, own, part)
        elif isinstance(expected, Tensor):
            if not isinstance(mine, Tensor):
                raise CheckFailedError(no_tensor(f"what {name} returns", mine))
            if mine.shape != expected.shape:
                told = [self.s.told(tuple(tensor.shape)) for tensor in (expected, mine)]
                facts = f"expected {told[0]}\nyours    {told[1]}"
                raise CheckFailedError(f"{name} returns the wrong shape", facts=facts)


def no_kernel(raised: Mapping[str, Any]) -> bool:
    """Whether torch has no kernel for a dtype, which is no learner's fault."""
    message = raised.get("message", "")
    # A kernel that lists several dtypes lacks this one; where it names a single one, two tensors don't fit together.
    listed = re.search(r"\bor \w+ .*but got BFloat16(?: and BFloat16)*$", message)
    missing = raised.get("type") == "NotImplementedError" and "BFloat16" in message
    return "not implemented for" in message or missing or listed is not None


def _arguments(told: Any) -> dict[str, tuple[bool, Any]]:
    """What a worker says of a signature: of each argument whether it has a default, and which."""
    rows = told if isinstance(told, list) else []
    fine = all(isinstance(row, list) and len(row) == 3 and type(row[0]) is str for row in rows)
    return {name: (bool(has), default) for name, has, default in rows} if fine else {}


def _near(one: Any, other: Tensor, rtol: float = RTOL, atol: float = ATOL) -> bool:
    alike = isinstance(one, Tensor) and one.shape == other.shape
    return alike and torch.allclose(one.double(), other.double(), rtol=rtol, atol=atol)


def _as_tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(type(number) in (bool, int, float) for number in numbers):
        wrong = next(number for number in numbers if type(number) not in (bool, int, float))
        missing = ": is a return missing on one of the ways?" if wrong is None else ""
        raise CheckFailedError(what, f"yours is {described(wrong)}{missing}")
    return torch.as_tensor(value)


def _noise(parameter: Tensor) -> float:
    """How much noise a parameter gets: a sum over many inputs stays near 1.

    A softmax of large numbers makes of rounding what looks like a mistake.
    """
    weight = parameter.dim() in (2, 4)  # of a layer (out, in) or of a convolution (D, C, P, P); no table of positions
    return min(0.3, math.prod(parameter.shape[1:]) ** -0.5) if weight else 0.3


Run = Callable[[Check], None]
