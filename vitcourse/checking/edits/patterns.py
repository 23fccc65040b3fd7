"""einops: two axes of a pattern, each in the other's place."""

import ast
import itertools
import re
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, words
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if isinstance(node, ast.Call) and called(node) in ("rearrange", "repeat"):
                yield from _exchanged(teller, node.args[1])


def _exchanged(teller: Teller, pattern: ast.expr) -> Iterator[Change]:
    assert isinstance(pattern, ast.Constant)
    sides = str(pattern.value).split("->")
    for place, comes in enumerate(("in", "out")):
        for one, other in itertools.combinations(re.findall(r"\w+", sides[place]), 2):
            names = {one: other, other: one}
            new = [*sides]
            new[place] = "".join(names.get(part, part) for part in re.findall(r"\w+|\W+", sides[place]))
            a, b = map(_symbol, (one, other))
            yield teller.change("axes exchanged", {id(pattern): ast.Constant("->".join(new))}, a=a, b=b, comes=comes)


def _symbol(axis: str) -> str:
    """An axis as the outline calls it: P for both of a patch's axes."""
    plain = axis.rstrip("0123456789")
    return plain if plain in words()["axes"] else axis
