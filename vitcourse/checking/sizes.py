"""The sizes of one check by the course's symbols: patterns of symbols become shapes, and shapes are told by symbols."""

import itertools
import re
from collections.abc import Mapping
from typing import Any


class Sizes:
    """The sizes of one check by the course's symbols, with those that follow from them: gh, gw, N, T, dh, M."""

    def __init__(self, **given: int) -> None:
        known = dict(given)
        if {"gh", "gw", "P"} <= known.keys():
            known.setdefault("H", known["gh"] * known["P"])
            known.setdefault("W", known["gw"] * known["P"])
        if {"gh", "gw"} <= known.keys():
            known.setdefault("N", known["gh"] * known["gw"])
        if "N" in known:
            known.setdefault("T", known["N"] + 1)
        if {"h", "dh"} <= known.keys():
            known.setdefault("D", known["h"] * known["dh"])
        if {"D", "ratio"} <= known.keys():
            known.setdefault("M", known["ratio"] * known["D"])
        self.known = known

    def __getattr__(self, symbol: str) -> int:
        try:
            return int(self.__dict__["known"][symbol])
        except KeyError:
            raise AttributeError(symbol) from None

    def shape(self, pattern: str) -> tuple[int, ...]:
        """The sizes of a pattern of symbols: "B N C*P*P" -> (2, 77, 75)."""
        return tuple(self._size(axis) for axis in pattern.split())

    def named(self, pattern: str) -> str:
        """A pattern with its sizes, to be read: "(B=2, N=77, C·P·P=75)"."""
        axes = [axis.replace("*", "·") if axis.isdecimal() else f"{axis.replace('*', '·')}={self._size(axis)}"
                for axis in pattern.split()]  # fmt: skip
        return f"({', '.join(axes)})"

    def told(self, shape: tuple[int, ...], pattern: str = "") -> str:
        """A shape with its symbols where they can be told, and what was exchanged against the pattern.

        A number that is the size of just one of the pattern's axes, or of just one symbol of the check, gets its name.
        """
        axes = pattern.split()
        named = [axis for axis in axes if not axis.isdecimal()] or list(self.known)
        words = []
        for number in shape:
            names = [axis for axis in dict.fromkeys(named) if self._size(axis) == number]
            words.append(f"{names[0].replace('*', '·')}={number}" if len(names) == 1 and number > 1 else str(number))
        text = f"({', '.join(words)}{',' if len(words) == 1 else ''})"
        return f"{text}{self._exchanged(shape, axes)}"

    def _exchanged(self, shape: tuple[int, ...], axes: list[str]) -> str:
        expected = [self._size(axis) for axis in axes]
        if len(expected) != len(shape) or expected == list(shape) or sorted(expected) != sorted(shape):
            return ""
        off = [place for place in range(len(shape)) if shape[place] != expected[place]]
        if len(off) == 2:
            one, other = (axes[place].replace("*", "·") for place in off)
            return f": the axes {one} and {other} are exchanged"
        orders = (
            order for order in itertools.permutations(axes) if [self._size(axis) for axis in order] == list(shape)
        )
        return f": the axes are right, but stand in the order {', '.join(next(orders)).replace('*', '·')}"

    def _size(self, axis: str) -> int:
        return int(worth(axis, self.known))


def worth(text: str, sizes: Mapping[str, Any]) -> Any:
    """What an expression of symbols, `1+gh·gw`, comes to; KeyError for a symbol without a size."""
    if text in sizes:
        return sizes[text]
    total = 0
    for sign, term in re.findall(r"([+-]?)([^+-]+)", text):
        result: Any = 1
        for by, word in re.findall(r"([*·/]?)([^*·/]+)", term):
            size = int(word) if word.isdigit() else sizes[word]
            result = result // size if by == "/" else result * size
        total += -result if sign == "-" else result
    return total
