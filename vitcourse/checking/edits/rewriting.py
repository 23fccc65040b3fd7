"""Expressions of a known form, and what people write in their place: the rows of rewrites.toml."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from vitcourse.checking.edits.reference import Function, table
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, Parts, code, matched, same

Place = tuple[Teller, ast.expr, Parts]  # where an expression of a form stands, and what the form's letters are there


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        nodes = list(expressions(function))
        for tree, rows in _forms():
            found = [(*place, parts) for place in nodes if (parts := matched(tree, place[1])) is not None]
            for template, rank, words, *everywhere in rows:
                for place in found:
                    yield from rewritten([place], template, rank, words)
                if everywhere and len(found) > 1:
                    yield from rewritten(found, template, everywhere[0], words)


@cache
def _forms() -> list[tuple[ast.expr, list[list[Any]]]]:
    """What expressions look like, and the rows: template, rank, words, and a rank for all places at once, or none."""
    rows: dict[str, list[list[Any]]] = {}
    for form, *row in table("rewrites")["rewrites"]:
        rows.setdefault(form, []).append(row)
    return [(ast.parse(form, mode="eval").body, own) for form, own in rows.items()]


def rewritten(found: Sequence[Place], template: str, rank: int, words: str, **told: ast.expr | str) -> Iterator[Change]:
    """What stands at these places becomes the template, filled in; nothing, where it stands there already."""
    new = [code(template, **parts) for *_, parts in found]
    if not same(ast.Expr(found[0][1]), new[0][0]):
        steps = " and ".join(dict.fromkeys(teller.step for teller, *_ in found))
        says = found[0][0].says(words, **{"step": steps, **found[0][2], **told})
        yield Change(says, dict(map(_replaced, found, new)), rank)


def _replaced(place: Place, new: list[ast.stmt]) -> tuple[int, ast.AST | list[ast.stmt]]:
    """What is replaced, by its identity, and by what: an expression, or the whole statement that it is."""
    teller, node, _ = place
    if isinstance(new[0], ast.Expr):
        return id(node), new[0].value
    return id(teller.line), ast.parse("\n".join(map(ast.unparse, map(ast.fix_missing_locations, new)))).body
