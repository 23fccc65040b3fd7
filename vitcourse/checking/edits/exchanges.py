"""Two things, each in the other's place: arguments, parts of a list or a tuple, axes of a pattern of einops."""

import ast
import itertools
import re
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, words
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, same

# Of these other rules know more.
_ELSEWHERE = ("transpose", "unsqueeze", "register_buffer")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if called(node) in ("rearrange", "repeat") and isinstance(node, ast.Call):
                yield from _axes(teller, node.args[1])
            elif isinstance(node, ast.Call) and called(node) not in _ELSEWHERE:
                yield from _parts(teller, node.args)
            elif isinstance(node, ast.List | ast.Tuple):
                yield from _parts(teller, node.elts)


def _parts(teller: Teller, parts: list[ast.expr]) -> Iterator[Change]:
    for a, b in itertools.combinations(parts, 2):
        if not same(a, b) and not isinstance(a, ast.Slice) and not isinstance(b, ast.Slice):
            yield teller.change("exchanged", {id(a): b, id(b): a}, a=a, b=b)


def _axes(teller: Teller, pattern: ast.expr) -> Iterator[Change]:
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
