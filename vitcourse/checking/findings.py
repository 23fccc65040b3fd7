"""What a learner's exception means, in plain words: the mistakes that beginners really meet.

Each finding looks at the exception (as data), and at what can be read in the chapter's text without running it.
"""

import ast
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vitcourse.codesets import load_code
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
_OF_TENSORS = "shape|size|dim|T|mT|transpose|permute|reshape|view|flatten|unsqueeze|softmax|chunk|split|mean|sum"
_BUILT_IN = "dict|list|tuple|str|int|float|bool|set|range|generator|function|builtin_function_or_method|method|Size"
_NO_KEYBOARD = "input() or breakpoint() waits for a keyboard that isn't there: take it out."
# Of these kinds, with a message of this form: the first one says it.
_MEANINGS = [
    (kinds.split(), re.compile(form), says)
    for kinds, form, says in (
        ("AttributeError", r"before Module.__init__\(\) call",
         "super().__init__() must be the first line of __init__: it makes the place where layers are kept."),
        ("AttributeError TypeError", "ellipsis",
         "... still stands where a value is meant: it holds a place until the line is written."),
        ("AttributeError TypeError", "NoneType",
         "None stands where a value is expected: does an earlier function forget its return?"),
        ("AttributeError", rf"'(Linear|Conv2d|Dropout|LayerNorm|Sequential|ModuleList)' .* '({_OF_TENSORS})'",
         "A layer stands where what it makes of x is meant: call it, as in self.layer(x)."),
        ("AttributeError TypeError", r"'tuple' object has no attr|'(Tensor|tuple)' and '(tuple|Tensor)'|not tuple$",
         "A tuple, such as a pair, stands where one tensor is meant: unpack it, or take its part."),
        ("AttributeError", rf"^(?!'({_BUILT_IN})' object)", "Is the name misspelt?"),
        ("TypeError", r"'input'.* must be Tensor, not (int|float)",
         "torch's functions take tensors; those of math, such as math.sqrt, take one number."),
        ("TypeError RuntimeError", _FLOAT_SIZE,
         "A size is a float there: / always gives a float, such as 14.0; // gives the whole number 14."),
        ("TypeError", "exceptions must derive from", "raise takes an exception, as in raise ValueError(…)."),
        ("ValueError RuntimeError TypeError", "only one element tensors|value of Tensor with more than one",
         "float(), if and the functions of math take one number; torch's, such as torch.exp, take a whole tensor."),
        ("TypeError", "'Tensor' object is not callable",
         "A tensor is called like a function: has it taken a function's name, or is an operator missing before (?"),
        ("NotImplementedError", r"\[ModuleList\]", "nn.ModuleList only keeps modules: a loop calls them."),
        ("RuntimeError AssertionError", "NVIDIA|compiled with CUDA",
         "Nothing is moved to a GPU in an answer: what is made on the way takes the input's device, x.device."),
        ("RuntimeError", r"numpy\(\) on Tensor that requires grad",
         "NumPy knows no gradients: what goes through it is cut off. torch has functions of the same names."),
        ("RuntimeError ValueError", "uninitialized parameter",
         "A lazy layer has no sizes before it runs, and a check looks at them before: name both, as in nn.Linear."),
        ("RuntimeError", "does not require grad and does not have a grad_fn",
         "backward goes back through what made the loss: on the way something is detached, or under torch.no_grad()."),
        ("RuntimeError", "leaf Variable that requires grad",
         "A parameter that records gradients is written into in place: do that under torch.no_grad()."),
        ("RuntimeError", "Index tensor must have the same number of dimensions",
         "gather's index has as many axes as the tensor it reads: labels[:, None], (B, 1), beside (B, K)."),
        ("RecursionError", "", "It calls itself without an end."),
        ("SystemExit", "", "exit() or sys.exit() ends the whole program; an answer only returns."),
        ("EOFError BdbQuit", "", _NO_KEYBOARD),
        ("Refused", "", "An answer uses torch, einops and the learner's own earlier chapters."),
    )
]  # fmt: skip

# What may help where no cause was found.
_HINTS = [
    (re.compile(form), says)
    for form, says in (
        (r"The size of tensor a \(\d+\) must match",
         "Axes are matched from the last one on: two that meet are equal, or one of them is 1. Has a mean or a sum "
         "lost its axis (keepdim=True keeps it), or is * written for @?"),
        (r"shape '.*' is invalid for input of size",
         "The sizes don't multiply to as many numbers as there are: is an axis left out, or a size guessed?"),
        ("Identifiers only on one side|Unexpected identifiers",
         "A name stands on both sides of the arrow (repeat and reduce apart): one is left out, or misspelt."),
        (r"expected \d+ dims. Received",
         "Left of the arrow there is one name for each axis of the tensor, or one pair of parentheses that splits it."),
        ("Could not infer sizes", "Of the names in a pair of parentheses all but one need a size, as in h=n_heads."),
        ("Tensor type unknown to einops", "einops takes the tensor first, and then the pattern."),
        ("must be a 3D tensor", "bmm takes exactly three axes; @ takes any number of them in front."),
        ("same dtype|expected scalar type",
         "Two dtypes meet: what is made on the way takes the input's, as in torch.zeros(…, dtype=x.dtype)."),
    )
]  # fmt: skip


def hint(raised: Mapping[str, Any]) -> str:
    """What may help with an exception whose cause wasn't found."""
    return next((says for form, says in _HINTS if form.search(raised.get("message", ""))), "")


def written_in(read: Mapping[str, Any], exercise: Exercise) -> list[str]:
    """The numbers that stand in the answer, and not in the reference's chapter."""
    tree = ast.parse(load_code("solutions").source(exercise.module) or "")
    known = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [
        f"{number} is written in: should it come from the arguments? (line {line})"
        for number, line in read.get("numbers", {}).items()
        if number not in known
    ]


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
    if kind == "NotImplementedError" and (left := list(_left_over(definitions, raised))):
        yield from left
    elif kind == "TypeError" and (near := misspelt(read, own_class, "__init__")) and "argument" in message:
        yield (
            f"{near} is a method that nobody calls: the constructor is called __init__, "
            "with two underscores on each side."
        )
    elif kind == "TypeError" and "unexpected keyword argument" in message:
        inside = "What is called there has no argument of that name: is it misspelt?"
        outside = "The contract's names for the arguments are those of the stub: is one misspelt or left out?"
        yield inside if _line(raised) else outside
    elif (near := misspelt(read, own_class, "forward")) and "forward" in message:
        yield f"{own_class} has a method {near}, which nobody calls: is it a misspelt forward?"
    elif kind in ("NameError", "UnboundLocalError"):
        quoted = re.search(r"(?<=')\w+(?=')", message)
        # A function has no self.
        functions = [found["lines"] for found in definitions.values() if not found["methods"]]
        method = not any(first <= _line(raised) <= last for first, last in functions)
        yield from _unknown_name(raised["name"] or (quoted[0] if quoted else ""), kind, method)
    elif kind == "AttributeError" and (
        suggested := re.search(r"^(?!.*NoneType).*Did you mean: '(\w+)'", message, re.DOTALL)
    ):
        yield f"Is the name misspelt? There is {suggested[1]}."
    else:
        meanings = (says for kinds, form, says in _MEANINGS if kind in kinds and form.search(message))
        yield from itertools.islice(meanings, 1)


def _line(raised: Mapping[str, Any]) -> int:
    """The innermost of the learner's lines; 0 where none led there."""
    frames = raised.get("frames")
    return frames[-1]["line"] if frames else 0


def _left_over(definitions: Mapping[str, Any], raised: Mapping[str, Any]) -> Iterator[str]:
    line = _line(raised)
    for found in definitions.values():
        for number, method in found["raises"]:
            if number == line:
                what = f"{method} is still the stub there" if method else "the stub's line is still there"
                yield (
                    f"{what}: the placeholder `raise NotImplementedError`, line {line}, is left over. "
                    "Write the answer above it, return it, and delete the line."
                )


def _unknown_name(name: str, kind: str, method: bool) -> Iterator[str]:
    if kind == "UnboundLocalError":
        yield f"{name} is used before it gets a value: is it set on each way that leads there?"
    elif name in _IMPORTS:
        yield f"{name} is not imported: at the top of the file, write {_IMPORTS[name]}"
    elif owner := next((e for e in exercises() if name in e.names), None):
        yield f"{name} is exercise {owner.id}'s; import it at the top: from .{owner.module} import {name}"
    else:
        yield f"nothing is called {name} there: is it misspelt{', or does it belong to self' if method else ''}?"
