"""A call that was refused, and words for its axes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.names import parts
from vitcourse.trace.record import Axis, Shape, shape_words

_NOTHING: tuple[str, Shape] = ("", ())


@dataclass(frozen=True)
class Fault:
    """What was refused: a function, its tensors by name, its arguments, and what the error says.

    `module` is whose call it was, where a module of torch's made it, the `layer`; `roles` are what its forward calls
    the first tensors. `made` is what doesn't go into a line's names: its axes, or how many there are.
    """

    op: str
    operands: Sequence[tuple[str, Shape]]
    message: str
    module: str
    args: Sequence[Any]
    tensors: Mapping[str, Tensor]
    layer: nn.Module | None
    roles: Sequence[str]
    made: tuple[str, Shape, int | None]

    @cached_property
    def numbers(self) -> list[int]:
        """The whole numbers among its arguments."""
        return [part for value in self.args for _, part in parts(value, "") if type(part) is int]

    def operand(self, place: int) -> tuple[str, Shape]:
        """A tensor's name and its axes; of one that isn't there, no name and no axes."""
        return self.operands[place] if place < len(self.operands) else _NOTHING

    @property
    def takes(self) -> str:
        """What it is that takes other sizes."""
        return self.module or self.op

    def owns(self, x: str) -> bool:
        """Whether a tensor is a part of the module."""
        if self.layer is None:
            return False
        prefix, _, name = x.rpartition(".")
        return x.startswith("operand ") or (name in self.layer.state_dict() and prefix in ("", "self", self.module))

    def fits(self, said: str) -> bool:
        """Whether a sentence speaks of the two sizes that torch names, if it does."""
        found = re.search(r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", self.message)
        return found is None or {*found.groups()} <= {*re.findall(r"\d+", said)}


def sizes(shape: Shape) -> list[int]:
    """The numbers alone."""
    return [axis.size for axis in shape]


def sized(axis: Axis) -> str:
    """`12 = D`, or the number alone."""
    return str(axis.size) if axis.name is None else f"{axis.size} = {axis.name}"


def ordinal(place: int, count: int) -> str:
    """Which of so many axes it is, in a word."""
    names = ("first", "second", "third", "fourth", "fifth")
    return "last" if place == count - 1 and count > 1 else names[place] if place < len(names) else f"{place + 1}th"


def axis_words(x: str, shape: Shape, place: int) -> str:
    """`x's last axis is 12 = D`."""
    return f"{x}'s {ordinal(place, len(shape))} axis is {sized(shape[place])}"


def has_axes(x: str, shape: Shape, asked: str) -> str:
    """`x has 3 axes (B, T, D), ...`: and so many are asked."""
    return f"{x} has {len(shape)} ax{'i' if len(shape) == 1 else 'e'}s {shape_words(shape)}, {asked}"


def ranks(x: str, one: Shape, y: str, two: Shape) -> str:
    """Two tensors by how many axes they have."""
    return has_axes(x, one, f"{y} {len(two)} {shape_words(two)}")
