"""Where the traced code failed: the reader's line, what was refused there, and what its tensors are called."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.errors import asked_of, explained
from vitcourse.trace.fault import Fault
from vitcourse.trace.names import arguments_of, parts
from vitcourse.trace.node import NOWHERE
from vitcourse.trace.record import Failure, Shape, said_by, shape_words
from vitcourse.trace.recorder import quietly, tensors_of
from vitcourse.trace.source import names_in, passed_by, place_of, raised_in
from vitcourse.trace.told import Told

_NAMED = (
    "input tensor query input1 x1 mat1 batch1 key input2 x2 mat2 batch2 vec value other target index mask weight bias"
)
_TURNS = {word: turn for turn, word in enumerate(_NAMED.split())}
# Where Python or torch says what it was that is no tensor.
_NO_TENSOR = re.compile(r"(?:not |got |concatenate |^)(tuple|list|dict|NoneType)\b|'(tuple|list|dict|NoneType)'")
_NAMES = re.compile(r"[(\[]?[\w.,* ]+[)\]]?\s*=\s*(?P<value>[^=].*)")


def failure(told: Told, error: BaseException) -> Failure:
    """Where the traced code stopped, and why."""
    line = quietly(_Line, told, error)
    if line is None:
        return Failure(error)
    place, op = line.place, line.op
    operands = tuple((word, told.shape_of(tensor)) for word, tensor in line.tensors)
    # Arguments of another kind than torch takes have other faults than their shapes.
    kinds = isinstance(error, TypeError | AttributeError)
    said = quietly(line.no_tensor if kinds else lambda: explained(line.fault()))
    # A notebook's cells are files of which there are none.
    elsewhere = place.file not in told.recorder.also_shown and Path(place.file).is_file()
    return Failure(error, place.file, place.line, place.text, op, operands, said or "", elsewhere)


def _shown(function: Callable[..., Any]) -> str:
    """What is called a function, or a module with its own numbers."""
    if isinstance(function, nn.Module):
        return f"{type(function).__name__}({function.extra_repr().partition('=')[0].rpartition(',')[0]})"
    return getattr(function, "__name__", type(function).__name__)


class _Line:
    """The reader's line that failed, if it was one of theirs, and what was refused there."""

    def __init__(self, told: Told, error: BaseException) -> None:
        self.told, self.recorder, self.error = told, told.recorder, error
        self.nodes = [*told.recorder.root.inside()]
        # What modules, parameters and buffers are called, by their ids.
        self.owned = {
            id(item): f"{prefix or 'self'}.{path}".rstrip(".")
            for prefix, module in told.call.modules
            for path, item in (*module.named_parameters(), *module.named_buffers(), *module.named_modules())
        }
        self.passed, at = passed_by(error), raised_in(error)
        self.place = place_of(at.tb_frame, at.tb_lasti) if at is not None else NOWHERE
        if not self.place.text:
            # What was called itself, and failed in lines of torch's, is in no line of the reader's but this one.
            text = f"{_shown(told.function)}({', '.join(told.call.tensors)})"
            self.place = replace(self.place, text=text)
        self.local: Mapping[str, Any] = at.tb_frame.f_locals if at is not None else told.call.tensors
        words = names_in(self.place.text) if at is not None else [*self.local]
        self.names = [word for word in words if isinstance(self.local.get(word), Tensor)]
        below = self.passed[self.passed.index(at) + 1 if at is not None else 0 :]
        owners = [other.tb_frame.f_locals.get("self") for other in below]
        # The module of torch that the line called, or that was called itself.
        self.layer = next((owner for owner in reversed(owners) if isinstance(owner, nn.Module)), None)
        self.given = self._given()
        self.roles = [*self.given] if asked_of(self.layer) else []
        self.op, self.args, taken = self._refused()
        self.tensors = self._called(taken)

    def _given(self) -> dict[str, Tensor]:
        """What the module was given, by the names of its forward; nothing where its call isn't found."""
        layer: Any = self.layer
        for inside in (at.tb_frame.f_locals for at in self.passed if at.tb_frame.f_code.co_name == "_call_impl"):
            if layer is not None and inside.get("self") is layer:
                args, kwargs = inside["args"], inside["kwargs"]
                paths = arguments_of(layer.forward, args, kwargs)
                leaves = map(parts, (*args, *kwargs.values()), paths)
                return {path: value for path, value in chain(*leaves) if isinstance(value, Tensor)}
        return {}

    def _refused(self) -> tuple[str, Sequence[Any], list[Tensor]]:
        """What refused, a function of torch or einops; its arguments; and its tensors."""
        refused, *call = self.recorder.refused
        if refused is self.error:
            name, args, kwargs = call
            # What was passed by name is taken in its turn, whatever the order in which it was named.
            args = (*args, *(kwargs[word] for word in sorted(kwargs, key=lambda word: _TURNS.get(word, len(_TURNS)))))
            # What is changed in place, add_ or __iadd__, ends in one underscore.
            in_place = name.endswith("_") and (name[:3] == "__i" or name[-2] != "_")
            return name.strip("_") + "_" * in_place, args, tensors_of(args)
        for frame in (at.tb_frame for at in self.passed):
            inside = frame.f_locals
            tensors = [value for value in inside.values() if isinstance(value, Tensor)]
            if frame.f_globals.get("__name__", "").startswith("einops") and len(tensors) == 1:
                told = {"pattern": "", "axes_lengths": {}, **getattr(inside.get("self"), "__dict__", {}), **inside}
                return "einops", (told["pattern"], told["axes_lengths"]), tensors
        # Some layers of torch's look at their input themselves, and compare it with their first weight.
        weights = [*self.layer.parameters(recurse=False)][:1] if self.layer is not None and self.given else []
        return "", (), [*self.given.values(), *weights] or [self.local[word] for word in self.names]

    def _called(self, taken: list[Tensor]) -> list[tuple[str, Tensor]]:
        """The tensors as the line calls them: first what a layer was given, else by what the layer calls it."""
        turns: dict[int, list[str]] = {}
        for word in self.names:
            turns.setdefault(id(self.local[word]), []).append(word)
        layer = self.layer.named_parameters() if self.layer is not None else ()
        known = {id(tensor): word for word, tensor in (*layer, *self.told.call.tensors.items())}
        lists = [(w, v) for w in names_in(self.place.text) if isinstance(v := self.local.get(w), list | tuple)]
        known |= {id(item): f"{word}[{place}]" for word, items in lists for place, item in enumerate(items)}
        known |= self.owned | {id(value): word for word, value in self.local.items()}

        def called(tensor: Tensor) -> str:
            # Of two names of one tensor, `query @ key`, each in its turn.
            if words := turns.get(id(tensor), []):
                return words.pop(0) if words[1:] else words[0]
            ref = self.recorder.known(tensor)
            made = next((node.place.text for node in self.nodes if ref in node.results), "")
            # What was made on the way in the very expression that failed has no name of its own.
            return known.get(id(tensor)) or (made if made != self.place.text else "")

        tensors = [(called(self.given[role]) or role, self.given[role]) for role in self.roles]
        for number, tensor in enumerate(taken, start=1):
            if not self.roles:
                tensors.append((called(tensor) or f"operand {number}", tensor))
            # Inside a layer there are others by then, of which the line knows nothing.
            elif all(tensor is not other for _, other in tensors) and (word := called(tensor)):
                tensors.append((word, tensor))
        return tensors

    def fault(self) -> Fault:
        """What was refused, with words for its axes."""
        layer = self.layer
        module = self.owned.get(id(layer), "self") if layer is not None else ""
        return Fault(
            op=self.op,
            operands=[(word, self.told.spelt(tensor)) for word, tensor in self.tensors],
            message=said_by(self.error),
            module=type(layer).__name__ if module == "self" else module,
            args=self.args,
            tensors=dict(self.tensors),
            layer=layer,
            roles=self.roles,
            made=self._taken_apart(),
        )

    def no_tensor(self) -> str:
        """What stands where a tensor was asked for, and what it holds: the two results of an LSTM, say."""
        kinds = {word for found in _NO_TENSOR.findall(said_by(self.error)) for word in found}
        there = {word: self.local[word] for word in names_in(self.place.text) if word in self.local}
        absent = [word for word, value in there.items() if value is None and "NoneType" in kinds]
        for word, value in there.items():
            if (kind := type(value).__name__) in kinds and tensors_of([value]):
                return f"{word} is a {kind}: {self._content(value)}"
        for node in reversed(self.nodes):
            if node.place.line == self.place.line and len(node.results) > 1 and "tuple" in kinds:
                shapes = ", ".join(shape_words(self.told.shape(ref)) for ref in node.results)
                return f"{node.place.text} gives a tuple: {shapes}"
        return f"{absent[0]} is None" if len(absent) == 1 else ""

    def _content(self, value: Any) -> str:
        """A value with the axes of its tensors in their places, the first few."""
        if isinstance(value, Tensor):
            return shape_words(self.told.shape_of(value))
        if isinstance(value, dict):
            inside = [f"{key!r}: {self._content(item)}" for key, item in value.items()]
        elif isinstance(value, tuple | list):
            inside = [*map(self._content, value)]
        else:
            return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
        start, end = "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "()"
        return start + ", ".join(inside[:4] + ["..."] * (len(inside) > 4)) + end

    def _taken_apart(self) -> tuple[str, Shape, int | None]:
        """Of `q, k = x.chunk(3)`: the right side, the axes of the tensor that it is, or how many it gives."""
        text, told = self.place.text, self.told
        found = _NAMES.fullmatch(text)
        value = found["value"] if found is not None else text
        held = self.local.get(value)
        steps = [node for node in self.nodes if node.place.text == value and node.results]
        results = steps[-1].results if steps else ()
        if isinstance(held, Tensor):
            return value, told.shape_of(held), None
        if results and any(node.place.text == text and node.op == "iter" for node in self.nodes):
            return value, told.shape(results[0]), None
        if isinstance(held, tuple | list | dict):
            return value, (), len(held)
        # What functions of torch give is tensors alone; what else a module or other code gives is not known.
        sure = len(results) > 1 and steps[-1].module is None and not any(node.shown for node in steps[-1].inside())
        return value, (), len(results) if sure else None
