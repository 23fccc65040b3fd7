"""What a learner's exception means, in plain words: the mistakes that beginners really meet.

Each finding looks at the exception (as data), and at what can be read in the chapter's text without running it.
"""

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vitcourse.course import Exercise, exercises

_IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
    "math": "import math",
    "np": "import numpy as np",
    "Tensor": "from torch import Tensor",
    "einops": "import einops",
    **{name: f"from einops import {name}" for name in ("rearrange", "repeat", "reduce", "einsum")},
}
_STUB = re.compile(r"exercise (\d+\.\d+) is yours to write")
_FLOAT_SIZE = (
    r"found element of type float|but got float|'float' object cannot be interpreted as an integer"
    r"|slice indices must be integers|got float$|not float$|type float at pos"
)
_NO_KEYBOARD = "input() or breakpoint() waits for a keyboard that isn't there: take it out."
# Of these kinds, with a message of this form: the first one says it.
_MEANINGS = [
    (kinds.split(), re.compile(form), says)
    for kinds, form, says in (
        ("AttributeError", r"before Module.__init__\(\) call",
         "super().__init__() must be the first line of __init__: it makes the place where layers are kept."),
        ("AttributeError", "NoneType",
         "None stands where a value is expected: does an earlier function forget its return?"),
        ("AttributeError", "", "Is the name spelt as where it was made?"),
        ("TypeError RuntimeError", _FLOAT_SIZE,
         "A size is a float there: / always gives a float, such as 14.0; // gives the whole number 14."),
        ("TypeError", "unexpected keyword argument",
         "The contract's names for the arguments are those of the stub: is one misspelt or left out?"),
        ("RecursionError", "", "It calls itself without an end."),
        ("SystemExit", "", "exit() or sys.exit() ends the whole program; an answer only returns."),
        ("EOFError BdbQuit", "", _NO_KEYBOARD),
        ("Refused", "", "An answer uses torch, einops and the learner's own earlier chapters."),
    )
]  # fmt: skip


def stub_of(raised: Mapping[str, Any]) -> str:
    """The exercise whose stub raised; empty when none did."""
    found = _STUB.search(raised.get("message", "")) if raised.get("type") == "NotImplementedError" else None
    return found[1] if found else ""


def explained(
    name: str, raised: Mapping[str, Any], read: Mapping[str, Any], exercise: Exercise, should: str = "raised"
) -> tuple[str, str]:
    """A headline and a diagnosis for an exception in an answer."""
    message = " ".join(raised["message"].split())
    headline = f"{name} {should} {raised['type']}{f': {message}' if message else ''}"
    return headline, "\n".join(_meanings(name, raised, read, exercise))


def places(raised: Mapping[str, Any], read: Mapping[str, Any]) -> list[str]:
    """The line of the exercise itself that led there; then the innermost line, where that is another."""
    frames = raised.get("frames", [])
    ranges = [found["lines"] for found in read.get("definitions", {}).values()]
    own = [f for f in frames if f["file"] == read.get("file") and any(a <= f["line"] <= b for a, b in ranges)]
    lines = []
    first = (own or frames)[-1:]
    for frame in first:
        where = f", in {frame['name']}" if frame["name"] not in ("", "<module>") else ""
        lines.append(f"raised at {frame['file']}, line {frame['line']}{where}")
    if frames and first and frames[-1] != first[0]:
        inner = frames[-1]
        lines.append(f"which called {inner['name']}, {inner['file']}, line {inner['line']}")
    return lines


def misspelt(read: Mapping[str, Any], name: str, wanted: str) -> str:
    """The method of a class whose name is nearly the wanted one; empty when there is none, or the right one."""
    methods = read.get("definitions", {}).get(name, {}).get("methods", [])
    if wanted in methods:
        return ""
    return next(iter(difflib.get_close_matches(wanted, methods, n=1, cutoff=0.6)), "")


def _meanings(name: str, raised: Mapping[str, Any], read: Mapping[str, Any], exercise: Exercise) -> Iterator[str]:
    kind, message = raised["type"], raised["message"]
    definitions = read.get("definitions", {})
    own_class = name.partition(".")[0]
    if kind == "NotImplementedError":
        yield from _left_over(definitions, raised)
    elif kind == "TypeError" and (near := misspelt(read, own_class, "__init__")) and "argument" in message:
        yield (
            f"{near} is a method that nobody calls: the constructor is called __init__, "
            "with two underscores on each side."
        )
    elif (near := misspelt(read, own_class, "forward")) and "forward" in message:
        yield f"{own_class} has a method {near}, which nobody calls: is it a misspelt forward?"
    elif kind in ("NameError", "UnboundLocalError"):
        yield from _unknown_name(raised["name"] or _quoted(message), definitions, kind)
    elif kind == "AttributeError" and (
        suggested := re.search(r"^(?!.*NoneType).*Did you mean: '(\w+)'", message, re.DOTALL)
    ):
        yield f"Is the name spelt as where it was made? There is {suggested[1]}."
    else:
        meanings = (says for kinds, form, says in _MEANINGS if kind in kinds and form.search(message))
        yield from itertools.islice(meanings, 1)


def _left_over(definitions: Mapping[str, Any], raised: Mapping[str, Any]) -> Iterator[str]:
    line = raised["frames"][-1]["line"] if raised.get("frames") else 0
    for found in definitions.values():
        for number, method in found["raises"]:
            if number == line:
                what = f"{method} is still the stub there" if method else "the stub's line is still there"
                yield (
                    f"{what}: the placeholder `raise NotImplementedError`, line {line}, is left over. "
                    "Write the answer above it, return it, and delete the line."
                )


def _unknown_name(name: str, definitions: Mapping[str, Any], kind: str) -> Iterator[str]:
    if kind == "UnboundLocalError":
        yield f"{name} is used before it gets a value: is it set on each way that leads there?"
    elif name in _IMPORTS:
        yield f"{name} is not imported: at the top of the file, write {_IMPORTS[name]}"
    elif owner := next((e for e in exercises() if name in e.names), None):
        yield f"{name} is exercise {owner.id}'s; import it at the top: from .{owner.module} import {name}"
    else:
        yield f"nothing is called {name} there: is it misspelt, or does it belong to self?"


def _quoted(message: str) -> str:
    found = re.search(r"'(\w+)'", message)
    return found[1] if found else ""
