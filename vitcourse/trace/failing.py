"""Where the traced code failed: the reader's line, what was refused there, and what its tensors are called."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.asked import each_by_its_name, given, in_turn, made_for_names, pattern_in
from vitcourse.trace.errors import asked_of, explained
from vitcourse.trace.fault import Fault
from vitcourse.trace.record import Failure, said_by
from vitcourse.trace.recorder import SEQUENTIAL, quietly, tensors_of
from vitcourse.trace.source import names_in, passed_by, place_of, readable
from vitcourse.trace.told import Told


def failure(told: Told, error: BaseException) -> Failure:
    """Where the traced code stopped, and why."""
    line = quietly(_Line, told, error)
    if line is None:
        return Failure(error)
    place, inputs = line.place, [*told.call.tensors.items()]
    tensors = line.tensors or ([] if line.readers else inputs)
    operands = tuple((word, told.shape_of(tensor)) for word, tensor in tensors)
    # Arguments of another kind than torch takes have other faults than their shapes.
    said = None if isinstance(error, TypeError) else quietly(lambda: explained(line.fault()))
    file, number = (place.file, place.line) if readable(place.file) else ("", 0)
    # What was raised inside a module of torch that was called itself was in no line of the reader's.
    text = place.text if line.readers else f"{_shown(told.function)}({', '.join(word for word, _ in inputs)})"
    return Failure(error, file, number, text, line.op, operands, said or "")


def _shown(function: Callable[..., Any]) -> str:
    """What is called a function, or a module with its own numbers."""
    if isinstance(function, nn.Module):
        return f"{type(function).__name__}({function.extra_repr().partition('=')[0].rpartition(',')[0]})"
    return getattr(function, "__name__", type(function).__name__)


class _Line:
    """The line that failed: the reader's or, where none of theirs was on the way, torch's own."""

    def __init__(self, told: Told, error: BaseException) -> None:
        self.told, self.recorder, self.error = told, told.recorder, error
        passed = passed_by(error)
        shown = [at for at in passed if self.recorder.info(at.tb_frame.f_code)[1]]
        own = [at for at in shown if at.tb_frame.f_code is not SEQUENTIAL]
        at = (own or shown or passed)[-1]
        self.place = place_of(at.tb_frame, at.tb_lasti)
        self.readers = readable(self.place.file) and self.place.text != ""
        # Other lines call all that they are given "input".
        self.local: Mapping[str, Any] = at.tb_frame.f_locals if own else {}
        owners = [below.tb_frame.f_locals.get("self") for below in passed[passed.index(at) + 1 :]]
        self.layer = next((owner for owner in reversed(owners) if isinstance(owner, nn.Module)), None)
        function = told.function
        if self.layer is None and isinstance(function, nn.Module) and type(function).__module__.startswith("torch."):
            self.layer = function
        # What a layer was given, where its call is what is looked into.
        self.roles = given(error, self.layer) if asked_of(self.layer) else {}
        self.op, self.args, taken = self._refused()
        self.tensors = self._called(taken)

    def _refused(self) -> tuple[str, Sequence[Any], list[Tensor]]:
        """What refused, a function of torch or einops; its arguments; and its tensors."""
        refused, *call = self.recorder.refused
        if refused is self.error:
            name, args, kwargs = call
            args = (*args, *in_turn(kwargs))
            # What is changed in place, add_ or __iadd__, ends in one underscore.
            in_place = name.endswith("_") and (name[:3] == "__i" or name[-2] != "_")
            return name.strip("_") + "_" * in_place, args, tensors_of(args)
        if (pattern := pattern_in(self.error)) is not None:
            tensor, *told = pattern
            return "einops", told, [tensor]
        # Some layers of torch's look at their input themselves.
        looked = [*given(self.error, self.layer).values()] if self.layer is not None else []
        named = [self.local.get(word) for word in names_in(self.place.text)]
        return "", (), looked or [value for value in named if isinstance(value, Tensor)]

    def _called(self, taken: list[Tensor]) -> list[tuple[str, Tensor]]:
        """The tensors as the line calls them: first what a layer was given, else by what the layer calls it."""
        tensors = [(self._word(tensor) or role, tensor) for role, tensor in self.roles.items()]
        known = {id(tensor) for _, tensor in tensors}
        for number, tensor in enumerate(taken, start=1):
            word = self._word(tensor)
            # Inside a layer there are others by then, of which the line knows nothing.
            if not self.roles or (word and id(tensor) not in known):
                tensors.append((word or f"operand {number}", tensor))
        return each_by_its_name(tensors, self.place.text, self.local)

    @cached_property
    def _names(self) -> list[dict[int, str]]:
        """What tensors are called: in the line, in the modules, by the caller, and in the layer."""
        # Of two names of one tensor the one that is used here.
        words = [word for word in (*self.local, *names_in(self.place.text)[::-1]) if word in self.local]
        layer = self.layer.named_parameters() if self.layer is not None else ()
        return [
            {id(self.local[word]): word for word in words if isinstance(self.local[word], Tensor)},
            self.recorder.module_names,
            {id(tensor): word for word, tensor in self.told.call.tensors.items()},
            {id(tensor): word for word, tensor in layer},
        ]

    def _word(self, tensor: Tensor) -> str:
        """What a tensor is called, else the step that made it; nothing for what was made on the way in this line."""
        ref = self.recorder.known(tensor)
        made = next((node.place.text for node in self.recorder.root.inside() if ref in node.results), "")
        named = next((names[id(tensor)] for names in self._names if id(tensor) in names), "")
        return named or (made if made != self.place.text else "")

    def fault(self) -> Fault:
        """What was refused, with words for its axes."""
        told, layer = self.told, self.layer
        module = self.recorder.module_names.get(id(layer), "self") if layer is not None else ""
        value, one, count = made_for_names(self.place.text, self.local, [*self.recorder.root.inside()])
        made = told.shape_of(one) if isinstance(one, Tensor) else told.shape(one) if one is not None else ()
        return Fault(
            self.op,
            [(word, told.spelt(tensor)) for word, tensor in self.tensors],
            said_by(self.error),
            type(layer).__name__ if module == "self" else module,
            self.args,
            dict(self.tensors),
            layer,
            [*self.roles],
            (value, made, count),
        )
