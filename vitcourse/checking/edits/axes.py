"""Axes: along which one something runs, and which part of one is taken."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, expr

_ALONG = ("softmax", "logsumexp", "mean", "sum", "chunk", "cat", "argmax", "unsqueeze", "squeeze", "gather")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        alike: dict[int, list[_Along]] = {}
        for teller, node in expressions(function):
            if isinstance(node, ast.Subscript):
                yield from _slices(teller, node)
            if (found := _Along.of(teller, node)) is not None:
                alike.setdefault(found.here, []).append(found)
                yield from _along([found])
        for group in alike.values():
            yield from _along(group)


def _place_of(node: ast.Call) -> ast.expr | None:
    """The expression that says along which axis a call runs."""
    given = [keyword.value for keyword in node.keywords if keyword.arg == "dim"]
    return next(iter([*given, *node.args[: called(node) in ("unsqueeze", "squeeze", "gather")]]), None)


def _number(node: ast.expr | None) -> int | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
    return value if isinstance(value, int) else None


@dataclass(frozen=True)
class _Along:
    """A call that runs along an axis: the expression that says which, its number, and what it runs on."""

    teller: Teller
    node: ast.Call
    place: ast.expr
    here: int
    subject: ast.expr

    @classmethod
    def of(cls, teller: Teller, node: ast.expr) -> "_Along | None":
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or called(node) not in _ALONG:
            return None
        place, subject = _place_of(node), node.func.value
        if isinstance(subject, ast.Name) and subject.id in ("torch", "F"):
            subject = node.args[0].elts[-1] if isinstance(node.args[0], ast.List) else node.args[0]
        here = _number(place)
        return None if place is None or here is None else cls(teller, node, place, here, subject)


def _along(group: list[_Along]) -> Iterator[Change]:
    """Along another axis; and along none, where a call can do that."""
    first, steps = group[0], " and ".join(dict.fromkeys(found.teller.step for found in group))
    axes, teller = first.teller.shape(first.subject) or ("…",), first.teller
    count = 0 if "…" in axes or called(first.node) == "unsqueeze" else len(axes)
    places: dict[int, int] = {}  # of two numbers of one axis one is told, and no other one of the right axis
    for place in (first.here, -1, -2, 0, 1, 2):
        places.setdefault(place + count if place < 0 else place, place)
    meant = teller.along(first.subject, first.here)
    for place in list(places.values())[1:]:
        other = teller.along(first.subject, place)
        there = {id(found.place): expr(str(place)) for found in group}
        yield teller.change("wrong axis", there, steps=steps, other=other, meant=meant)
    if len(group) == 1 and called(first.node) in ("mean", "sum", "argmax", "softmax", "logsumexp"):
        rest = [keyword for keyword in first.node.keywords if keyword.arg not in ("dim", "keepdim")]
        bare = ast.Call(first.node.func, first.node.args, rest)
        yield teller.change("no axis", {id(first.node): bare}, meant=meant)


def _slices(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """A slice: off by one, from the other end, not at all."""
    for place in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
        if isinstance(place, ast.Slice):
            lower, upper, step = place.lower, place.upper, place.step
            kind = "step" if step else "from" if lower and not upper else "to" if upper and not lower else ""
            ends = {letter: end for letter, end in zip("lus", (lower, upper, step), strict=True) if end is not None}
            for template, said in siblings()["slices"].get(kind, ()):
                new = expr(template, **{"l": ast.Constant(0), **ends})
                assert isinstance(new, ast.Subscript)
                yield teller.change("slice", {id(place): new.slice}, of=node.value, said=said)
