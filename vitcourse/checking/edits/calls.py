"""Calls: arguments exchanged, dropped or added."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, signature, words
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, expr, same

_PATTERNS = ("rearrange", "repeat")  # of einops: other rules are for them


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if isinstance(node, ast.Call):
                yield from _exchanged(teller, node)
                if called(node) not in _PATTERNS:
                    yield from _dropped(teller, node)


def parameters(node: ast.Call) -> list[str]:
    """The names of a call's positional arguments, where the course knows them."""
    known = signature(called(node))
    torchs = {
        "Linear": ["in_features", "out_features"],
        "Conv2d": ["in_channels", "out_channels"],
        "range": ["start", "stop", "step"],
        "arange": ["start", "end", "step"] if len(node.args) > 1 else ["end"],
    }
    return known.arguments if known is not None else torchs.get(called(node), [])


def _exchanged(teller: Teller, node: ast.Call) -> Iterator[Change]:
    if called(node) in (*_PATTERNS, "transpose", "unsqueeze", "register_buffer") or not node.args:
        return
    listed = node.args[0].elts if isinstance(node.args[0], ast.List) else None
    names = [] if listed or not called(node)[0].isupper() else parameters(node)
    for (one, a), (other, b) in itertools.combinations(enumerate(listed or node.args), 2):
        if same(a, b):
            continue
        said = [teller.tell(a), teller.tell(b)]
        for index, place in enumerate((one, other)):
            if place < len(names) and names[place] not in said[index]:
                said[index] = names[place]
        swapped = {id(a): b, id(b): a}
        yield teller.change("last comes first" if listed else "arguments exchanged", swapped, a=said[0], b=said[1])
        if listed:
            yield teller.change("added up", {id(node): expr("a + b", a=a, b=b)}, a=a, b=b)


def _dropped(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """An argument that isn't handed on, or two of them."""
    known, names = signature(called(node)), parameters(node)
    keywords = [keyword for keyword in node.keywords if keyword.arg not in ("dim", "keepdim")]
    for keyword in keywords:
        yield _without(teller, node, keyword.arg or "", keyword.value, 0, [keyword])
    for one, other in itertools.combinations(keywords, 2):
        bare = ast.Call(node.func, node.args, [keyword for keyword in node.keywords if keyword not in (one, other)])
        default = _default(node, one.arg or "")
        told = {"one": one.arg or "", "other": other.arg or "", "to": called(node)}
        yield teller.change("neither handed on", {id(node): bare}, told, default=default and f", {default}")
    for place, name in enumerate(names[: len(node.args)]):
        if known is not None and name in known.defaults:
            yield _without(teller, node, name, node.args[place], len(node.args) - place, [])


def _without(teller: Teller, node: ast.Call, name: str, value: ast.expr, named: int, gone: list[ast.keyword]) -> Change:
    """A call without an argument; the last so many are named instead of placed, all but the first of these."""
    place = len(node.args) - named
    rest = [ast.keyword(*pair) for pair in zip(parameters(node)[place + 1 :], node.args[place + 1 :], strict=False)]
    keywords = [keyword for keyword in node.keywords if keyword not in gone]
    bare = ast.Call(node.func, node.args[:place], [*rest, *keywords])
    default = _default(node, name)
    told = {"name": name, "to": called(node), "default": default and f" of {default}"}
    return teller.change("not handed on", {id(node): bare}, told, value=value)


def _default(node: ast.Call, name: str) -> str:
    """What is taken where an argument isn't given; empty where that isn't known."""
    known = signature(called(node))
    if known is not None and name in known.defaults:
        return ast.unparse(known.defaults[name])
    return str(words()["defaults"].get(f"{called(node)} {name}", ""))
