"""Two arguments of a call, or two parts of a list or a tuple, each in the other's place."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, signature
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, same

# Of these other rules know more.
_ELSEWHERE = ("rearrange", "repeat", "transpose", "unsqueeze", "register_buffer")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for teller, node in expressions(function):
            if isinstance(node, ast.Call) and called(node) not in _ELSEWHERE:
                yield from _exchanged(teller, node.args, _names(node))
            if isinstance(node, ast.List | ast.Tuple):
                yield from _exchanged(teller, node.elts, [])


def _exchanged(teller: Teller, parts: list[ast.expr], names: list[str]) -> Iterator[Change]:
    for (one, a), (other, b) in itertools.combinations(enumerate(parts), 2):
        if not same(a, b) and not isinstance(a, ast.Slice) and not isinstance(b, ast.Slice):
            said = [names[place] if place < len(names) else part for place, part in ((one, a), (other, b))]
            yield teller.change("exchanged", {id(a): b, id(b): a}, a=said[0], b=said[1])


def _names(node: ast.Call) -> list[str]:
    """The names of the arguments with which a class is called, where the course knows them."""
    torchs = {"Linear": ["in_features", "out_features"], "Conv2d": ["in_channels", "out_channels"]}
    if not called(node)[:1].isupper():
        return []
    known = signature(called(node))
    return known.arguments if known is not None else torchs.get(called(node), [])
