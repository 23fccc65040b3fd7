"""`trace`: a call, and its steps as rows."""

import inspect
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.trace.asked import each_by_its_name, given, made_for_names
from vitcourse.trace.copies import Call
from vitcourse.trace.described import NamesGiven, described
from vitcourse.trace.errors import asked_of, explained
from vitcourse.trace.fault import Fault
from vitcourse.trace.folding import folded
from vitcourse.trace.node import Node
from vitcourse.trace.record import Failure, Row, Shape, said_by
from vitcourse.trace.recorder import named_results, quietly
from vitcourse.trace.runs import Rehearsals
from vitcourse.trace.shown import Trace
from vitcourse.trace.source import Place, place_of, raised_in, readable
from vitcourse.trace.steps import Failed, Recorder
from vitcourse.trace.told import Told


def trace(
    function: Callable[..., Any], *args: Any, names: NamesGiven = None, depth: int | None = None, **kwargs: Any
) -> Trace:
    """Call a function or module and return the trace of its steps: every tensor's shape, by name.

    The axes of the inputs get their names from `names` (`{"images": "B C H W"}`, or the string alone for the first
    tensor), else from the jaxtyping annotations of the signature; parameters can be named too
    (`{"projection.weight": "D C P P"}`), numbers (`{"patch_size": "P"}`), and dicts (`{"batch['x']": "B D"}`).

    Every other name is found by running the same call on copies, at other sizes: an axis is called by the expression of
    the symbols that fits every run, and shows its number where none does. What `build` made is made anew for that; in a
    finished module, whose own sizes stay, each step is asked alone.

    `depth` is how many levels of calls the rows go down to; without it, as deep as fits on a screen. When the traced
    code raises, the trace ends there and its `error` says why. What can't be looked into, compiled code say, is a row.
    """
    if depth is not None and not (isinstance(depth, int) and depth >= 1):
        raise ValueError(f"depth is how many levels of calls are shown, 1 or more, and not {depth!r}")
    call = described(function, args, kwargs, names)
    recorder = Recorder(_own_files(function))
    recorder.modules = call.modules
    rehearsals = Rehearsals(call)
    quietly(rehearsals.prepare)
    inputs = list(_input_rows(recorder, call))
    result, error = None, None
    try:
        result = recorder.run(function, args, kwargs)
    except Exception as raised:
        error = raised
    told = Told(call, recorder, rehearsals, function)
    if told.nameable():
        quietly(rehearsals.run, recorder, error is not None, told.settled)
    told.learn()
    kind = type(function).__name__
    name = kind if isinstance(function, nn.Module) else getattr(function, "__name__", repr(function))
    outcome = tuple(told.shape_of(tensor) for tensor in named_results(result))
    failure = _failure(told, error) if error is not None else None
    told.forget()
    root = recorder.root
    return Trace(
        name, lambda: _rows(name, [*inputs, *root.children], told, outcome), result, failure, depth,
        told.names.meanings, outcome, told.runs, tuple(told.findings),
    )  # fmt: skip


def failed(name: str, error: Exception) -> Trace:
    """The trace of what could not even be made."""
    found = raised_in(error)
    place = place_of(found.tb_frame, found.tb_lasti) if found is not None else Place("", 0, "")
    return Trace(name, list, failure=Failure(error, place.file, place.line, place.text))


def _own_files(function: Callable[..., Any]) -> frozenset[str]:
    """The file of what is traced: its steps are shown, even when it is torch's own."""
    plain = inspect.unwrap(function.forward if isinstance(function, nn.Module) else function)
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    return frozenset({code.co_filename} if code is not None else ())


def _input_rows(recorder: Recorder, call: Call) -> Iterator[Node]:
    for word, tensor in call.tensors.items():
        serial = recorder.note("input", [tensor])
        node = Node(
            Place("", 0, word), "input", serial, (0, 0),
            [(lambda: None, (-1, 0), (torch.get_default_dtype(), torch.device("cpu")))], True,
        )  # fmt: skip
        node.results, node.kind = ((serial, 0),), (tensor.dtype, tensor.device)
        yield node


def _rows(name: str, nodes: list[Node], told: Told, outcome: tuple[Shape, ...]) -> list[Row]:
    rows = list(folded(nodes, told.shape))
    if outcome and all(node.op == "input" for node in nodes):
        # Nothing of it is written in Python: it is one step.
        rows.append(Row(f"{name}({', '.join(row.expression for row in rows)})", name, outcome))
    return rows


def _failure(told: Told, error: BaseException) -> Failure:
    at = told.recorder.failed
    if at is None or at.error is not error:
        return Failure(error)
    place, owner, found = at.place, at.module, raised_in(error)
    if owner is None and type(told.function).__module__.startswith("torch."):
        owner = told.function
    frame = found.tb_frame if found is not None else None
    tensors, roles = quietly(_called, told, at, owner, frame) or (at.operands, [])
    operands = tuple((word, told.shape_of(tensor)) for word, tensor in tensors)
    # Arguments of another kind than torch takes have other faults than their shapes.
    fault = None if isinstance(error, TypeError) else quietly(_fault, told, at, tensors, roles, owner, frame)
    if not readable(place.file) or not place.text:
        # Raised inside the module of torch that was called, in a line that is not the reader's.
        shown = getattr(told.function, "__name__", type(told.function).__name__)
        if isinstance(told.function, nn.Module):
            shown += f"({told.function.extra_repr().partition('=')[0].rpartition(',')[0]})"
        file, line = (place.file, place.line) if readable(place.file) else ("", 0)
        place = Place(file, line, f"{shown}({', '.join(told.call.tensors)})")
        operands = operands or tuple((word, told.shape_of(tensor)) for word, tensor in told.call.tensors.items())
    said = quietly(explained, fault) if fault is not None else None
    return Failure(at.error, place.file, place.line, place.text, at.op, operands, said or "")


def _called(told: Told, at: Failed, layer: Any, frame: FrameType | None) -> tuple[list[tuple[str, Tensor]], list[str]]:
    """The tensors of a call that failed as its line calls them, and what the forward of a module calls the first."""
    roles = given(at.error, layer) if asked_of(layer) else {}
    words = told.recorder.worded([*roles.values()], frame, layer) if frame is not None else roles.items()
    tensors = [(role if word[:8] == "operand " else word, t) for role, (word, t) in zip(roles, words, strict=True)]
    # Inside a module there are others by then, of which the line knows nothing.
    inside = {id(t) for word, t in at.operands if word[:8] == "operand "} | {id(t) for t in roles.values()}
    tensors += [(word, t) for word, t in at.operands if not roles or id(t) not in inside]
    return each_by_its_name(tensors, at.place.text, frame.f_locals if frame is not None else {}), [*roles]


def _fault(
    told: Told, at: Failed, tensors: list[tuple[str, Tensor]], roles: list[str], layer: Any, frame: FrameType | None
) -> Fault:
    module = told.recorder.module_names.get(id(layer), "self") if layer is not None else ""
    value, one, count = made_for_names(at.place.text, frame, [*told.recorder.root.inside()])
    made = told.shape_of(one) if isinstance(one, Tensor) else told.shape(one) if one is not None else ()
    return Fault(
        at.op,
        [(word, told.spelt(tensor)) for word, tensor in tensors],
        said_by(at.error),
        type(layer).__name__ if module == "self" else module,
        at.args,
        dict(tensors),
        layer,
        roles,
        (value, made, count),
    )
