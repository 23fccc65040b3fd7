"""Slices: off by one, from the other end, not at all."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, siblings
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, expr


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if isinstance(node, ast.Subscript):
                yield from _slices(teller, node)


def _slices(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    for place in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
        if isinstance(place, ast.Slice):
            lower, upper, step = place.lower, place.upper, place.step
            kind = "step" if step else "from" if lower and not upper else "to" if upper and not lower else ""
            ends = {letter: end for letter, end in zip("lus", (lower, upper, step), strict=True) if end is not None}
            for template, said in siblings()["slices"].get(kind, ()):
                new = expr(template, **{"l": ast.Constant(0), **ends})
                assert isinstance(new, ast.Subscript)
                yield teller.change("slice", {id(place): new.slice}, of=node.value, said=said)
