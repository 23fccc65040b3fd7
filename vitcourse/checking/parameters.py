"""Whether a module holds what the contract says: parameters and buffers, by their names, shapes and kinds.

What is wrong is said by its kind: a plain tensor, a list that hides its modules, one layer in several roles.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from vitcourse.checking.subjects import CheckFailedError
from vitcourse.checking.wording import word

MOST = 16  # parameters that are listed one by one


def compare(name: str, held: Mapping[str, Any], reference: nn.Module) -> None:
    """CheckFailedError where what a learner's module holds is not what the reference's does."""
    for headline, diagnosis in _faults(name, held, reference):
        raise CheckFailedError(headline, diagnosis)


def _faults(name: str, held: Mapping[str, Any], reference: nn.Module) -> Iterator[tuple[str, str]]:
    own = held["parameters"]
    expected = {key: tuple(value.shape) for key, value in reference.named_parameters()}
    buffers = {key: tuple(value.shape) for key, value in reference.named_buffers()}
    yield from _plain_tensors(name, held, expected, buffers)
    for key in (key for key in buffers if key in own):
        frozen = not own[key]["trained"]
        yield (
            f"{key} of {name} is a {'frozen ' if frozen else ''}parameter; it should be a buffer",
            "self.register_buffer keeps a tensor that moves and is saved with the module"
            f"{'' if frozen else ', and is not trained'}.",
        )
    for key in (key for key in expected if key not in own):
        for hidden, kind in held["hidden"].items():
            asked = f"self.{key.rpartition('.')[0] or key} is asked for"
            wanted = "nn.ModuleList makes them known" if key.startswith(f"{hidden}.") else asked
            yield (
                f"{hidden} of {name} is a plain {kind}, which hides its modules",
                f"{wanted}: an optimizer sees none of the parameters that stand in a plain {kind}.",
            )
    for key, other in held["shared"].items():
        if key in expected:
            yield (
                f"{key} and {other} of {name} are one and the same parameter",
                "Each needs a layer of its own: here one layer stands in several roles.",
            )
    for path, part in reference.named_modules():
        count = held["modules"].get(path, {}).get("length") if isinstance(part, nn.ModuleList) else None
        if isinstance(part, nn.ModuleList) and count not in (None, len(part)):
            yield f"{path} of {name} holds {count} modules, and should hold {len(part)}", ""
    yield from _names_and_shapes(name, own, expected)
    for key in (key for key in expected if not own[key]["trained"]):
        yield f"the parameter {key} of {name} is frozen", "With requires_grad=False it is never trained."
    for key in reference.state_dict():
        if key not in own and not held["buffers"].get(key, {}).get("saved"):
            here = "is a buffer, but isn't saved" if key in held["buffers"] else "is missing from the state dict"
            yield f"{key} of {name} {here}", "self.register_buffer, without persistent=False, puts a tensor there."
    for key, value in reference.state_dict().items():
        dtype = {**own, **held["buffers"]}[key]["dtype"]
        if dtype != value.dtype:
            yield f"{key} of {name} is {word(dtype)}; it should start as {word(value.dtype)}, torch's default", ""


def _plain_tensors(
    name: str, held: Mapping[str, Any], expected: Mapping[str, Any], buffers: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for key in (key for key in (*expected, *buffers) if key not in held["parameters"] and key in held["plain"]):
        if key in buffers:
            yield (
                f"{key} of {name} is a plain tensor, no buffer",
                "self.register_buffer makes it one: a plain tensor doesn't move with the module and isn't saved.",
            )
        else:
            yield (
                f"{key} of {name} is a plain tensor, not a parameter",
                "nn.Parameter makes it one: a plain tensor isn't saved with the module and is never trained.",
            )


def _renamed(own: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, str]]:
    """Attributes whose name is nearly the contract's, and which hold what it asks for there."""
    for key in (key for key in own if key not in expected):
        alike = [name for name, shape in expected.items() if name not in own and shape == tuple(own[key]["shape"])]
        for name in difflib.get_close_matches(key, alike, n=1, cutoff=0.6):
            parts = [(a, b) for a, b in itertools.zip_longest(key.split("."), name.split(".")) if a != b]
            if len(parts) == 1 and all(parts[0]):
                yield parts[0]


def _names_and_shapes(
    name: str, own: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, str]]:
    lines = [f"missing:   {key} {shape}" for key, shape in expected.items() if key not in own]
    lines += [f"not named: {key} {value['shape']}" for key, value in own.items() if key not in expected]
    if len(lines) > MOST:  # whole parts, such as blocks.2
        lines = list(dict.fromkeys(".".join(line.split(" (")[0].split(".")[:2]) for line in lines))
    if lines:
        renamed = dict.fromkeys(_renamed(own, expected))
        headline = f"the parameters of {name} are not those of the contract"
        yield headline, "\n".join([*(f"self.{a} should be called self.{b}" for a, b in renamed), *lines])
    for key, shape in expected.items():
        if tuple(own[key]["shape"]) != shape:
            yield (
                f"the parameter {key} of {name} has the wrong shape",
                f"expected {shape}\nyours    {tuple(own[key]['shape'])}",
            )
