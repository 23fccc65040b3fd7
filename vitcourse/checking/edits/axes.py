"""Axes: along which one something runs, which are exchanged, which element or slice is taken, whose size is read."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from vitcourse.checking.edits.reference import Function, called, siblings, words
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, expr, own_expressions

_ALONG = ("softmax", "logsumexp", "mean", "sum", "chunk", "cat", "argmax", "unsqueeze", "squeeze", "gather")
_PLACES = (-1, -2, 0, 1, 2)


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        along: dict[int, list[_Along]] = {}
        for teller, node in expressions(function):
            if isinstance(node, ast.Subscript):
                yield from _size(teller, node)
                yield from _slices(teller, node)
            if (found := _Along.of(teller, node)) is not None:
                along.setdefault(found.here, []).append(found)
                yield from _along(found)
        for group in along.values():
            if len(group) > 1:
                yield from _all_along(group)
        for line in function.lines():
            yield from _sizes_shifted(Teller(function, line))


def place_of(node: ast.Call) -> ast.expr | None:
    """The expression that says along which axis a call runs."""
    for keyword in node.keywords:
        if keyword.arg == "dim":
            return keyword.value
    return node.args[0] if called(node) in ("unsqueeze", "squeeze", "gather") and node.args else None


def _number(node: ast.expr | None) -> int | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
    return value if isinstance(value, int) else None


def _constant(value: int) -> ast.expr:
    return expr(str(value))


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
        place, subject = place_of(node), node.func.value
        if isinstance(subject, ast.Name) and subject.id in ("torch", "F"):
            subject = node.args[0].elts[-1] if isinstance(node.args[0], ast.List) else node.args[0]
        here = _number(place)
        return None if place is None or here is None else cls(teller, node, place, here, subject)

    def told(self, place: int) -> str:
        return self.teller.along(self.subject, place)


def _along(found: _Along) -> Iterator[Change]:
    name, meant, change = called(found.node), found.told(found.here), found.teller.change
    axes = found.teller.shape(found.subject) or ("…",)
    count = 0 if "…" in axes or name == "unsqueeze" else len(axes)
    places: dict[int, int] = {}  # of two numbers of one axis one is told, and no other one of the right axis
    for place in (found.here, *_PLACES):
        places.setdefault(place + count if place < 0 else place, place)
    for other in list(places.values())[1:]:
        verb = "cuts along" if name == "chunk" else "runs over"
        there = {id(found.place): _constant(other)}
        yield change("wrong axis", there, what=name, verb=verb, other=found.told(other), meant=meant)
    if name in ("mean", "sum", "argmax", "softmax", "logsumexp"):
        rest = [keyword for keyword in found.node.keywords if keyword.arg not in ("dim", "keepdim")]
        bare = ast.Call(found.node.func, found.node.args, rest)
        yield change("no axis", {id(found.node): bare}, what=name, meant=meant)


def _all_along(group: list[_Along]) -> Iterator[Change]:
    """All of a function's steps along another axis than the one they share."""
    first = group[0]
    steps = " and ".join(dict.fromkeys(found.teller.step for found in group))
    for other in (other for other in _PLACES if other != first.here):
        there = {id(found.place): _constant(other) for found in group}
        told = {"other": first.told(other), "meant": first.told(first.here)}
        yield first.teller.change("all along a wrong axis", there, told, steps=steps)


def _size(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """x.shape[i]: another axis of x, or of another tensor."""
    here = _number(node.slice) if isinstance(node.value, ast.Attribute) and node.value.attr == "shape" else None
    if here is None or not isinstance(node.value, ast.Attribute):
        return
    subject, places = node.value.value, (-1, -2, -3, 0, 1, 2, 3)
    own = teller.symbol(subject, here)
    meant = _said(teller, subject, here)
    for other in places:
        symbol = teller.symbol(subject, other)
        if other != here and (symbol == "?" or symbol != own):
            told = {"read": _said(teller, subject, other), "meant": f"axis {here}, {meant}"}
            there = {id(node.slice): _constant(other)}
            yield teller.change("size of a wrong axis", there, told, place=str(other), of=subject)
    known = {teller.symbol(subject, other) for other in places}
    for name, axes in teller.axes.items():
        for place, symbol in enumerate(axes, start=-len(axes)):
            if symbol not in known and symbol not in ("…", "1"):
                known.add(symbol)
                tensor = ast.Name(name, ast.Load())
                told = {"read": f"{_counted(symbol)}, the wrong axis", "meant": meant, "place": str(place)}
                size = {id(node): expr(f"x.shape[{place}]", x=tensor)}
                yield teller.change("size of a wrong axis", size, told, of=tensor)


def _sizes_shifted(teller: Teller) -> Iterator[Change]:
    """Several sizes of one tensor, each read from the axis beside the right one."""
    reads = [
        (node.slice, here, node.value.value)
        for node in own_expressions(teller.line)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
        and (here := _number(node.slice)) is not None
    ]  # fmt: skip
    for by in (-1, 1, -2) if len(reads) > 1 else ():
        meant = " and ".join(f"{_said(teller, subject, here)} (axis {here})" for _, here, subject in reads)
        read = " and ".join(f"axis {here + by}, {_said(teller, subject, here + by)}" for _, here, subject in reads)
        there = {id(place): _constant(here + by) for place, here, _ in reads}
        yield teller.change("sizes of wrong axes", there, read=read, meant=meant)


def _said(teller: Teller, subject: ast.expr, place: int) -> str:
    symbol = teller.symbol(subject, place)
    return "the wrong one" if symbol == "?" else _counted(symbol)


def _counted(symbol: str) -> str:
    return str(words()["counted"].get(symbol, symbol))


def _slices(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """A slice: off by one, from the other end, not at all."""
    for place in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
        if not isinstance(place, ast.Slice) or (place.lower is None and place.upper is None and place.step is None):
            continue
        lower, upper = _number(place.lower) or 0, _number(place.upper)
        by = ast.unparse(place.step) if place.step is not None else ""
        kind = "step" if by else "from" if place.upper is None else "to" if upper is not None and not lower else ""
        if place.lower is not None and _number(place.lower) is None:
            kind = ""
        ends = {
            "lower": lower,
            "next": lower + 1,
            "other": 1 - lower,
            "by": by,
            "upper": upper,
            "end": (upper or 0) + 1,
        }
        for text, said in siblings()["slices"].get(kind, ()):
            new = expr(f"x[{text.format(**ends)}]")
            assert isinstance(new, ast.Subscript)
            yield teller.change("slice", {id(place): new.slice}, of=node.value, said=said)
