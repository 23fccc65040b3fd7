"""`trace`: a call, and its steps as rows."""

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import torch
from torch import nn

from vitcourse.trace.copies import Call
from vitcourse.trace.described import NamesGiven, described
from vitcourse.trace.failing import failure
from vitcourse.trace.flow import flow_svg
from vitcourse.trace.folding import folded
from vitcourse.trace.html import to_html
from vitcourse.trace.node import Node
from vitcourse.trace.record import Failure, Row, Shape, Steps, require_depth
from vitcourse.trace.recorder import named_results, quietly
from vitcourse.trace.render import print_trace, to_json, to_text
from vitcourse.trace.runs import Rehearsals
from vitcourse.trace.source import Place, place_of, raised_in
from vitcourse.trace.steps import Recorder
from vitcourse.trace.told import Told


class Trace(Steps):
    """The steps that a call took, and its result or its error; with the ways to show it."""

    to_text, to_json, to_html, to_svg, print = to_text, to_json, to_html, flow_svg, print_trace
    _repr_html_ = to_html

    def at(self, depth: int | None) -> "Trace":
        """The same trace, shown to another depth."""
        require_depth(depth)
        other = copy(self)
        other.depth = depth
        return other

    def __str__(self) -> str:
        return to_text(self, legend=True)

    __repr__ = __str__


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
    require_depth(depth)
    call = described(function, args, kwargs, names)
    recorder = Recorder(_own_files(function))
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
        quietly(rehearsals.run, recorder, error is not None, told.settled, told.telling)
    told.learn()
    quietly(told.find_numbers)
    quietly(told.find_merged)
    kind = type(function).__name__
    name = kind if isinstance(function, nn.Module) else getattr(function, "__name__", repr(function))
    outcome = told.outcome(named_results(result))
    stopped = failure(told, error) if error is not None else None
    told.forget()
    root = recorder.root
    return Trace(
        name, lambda: _rows(name, [*inputs, *root.children], told, outcome), result, stopped, depth,
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
