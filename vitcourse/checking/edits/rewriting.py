"""Expressions of a known form, and what people write in their place: the rows of rewrites.toml."""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from vitcourse.checking.edits.reference import Function, rewrites
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, Parts, code, matched


@dataclass(frozen=True)
class Form:
    """What an expression looks like, and the rows on it: (template, rank, words, rank of all places at once, or 0)."""

    find: ast.expr
    rows: list[tuple[str, int, str, int]]


@dataclass(frozen=True)
class Place:
    """An expression of a form: where it stands, and what the form's letters stand for there."""

    teller: Teller
    node: ast.expr
    parts: Parts


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        nodes = list(expressions(function))
        for form in _forms():
            found = [
                Place(teller, node, parts) for teller, node in nodes if (parts := matched(form.find, node)) is not None
            ]
            for row in form.rows:
                yield from (_rewritten(place, *row[:3]) for place in found if _knows(place.teller, row[0]))
                if row[3] and len(found) > 1:
                    yield _all(found, *row)


def rewritten(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """The changes of one expression."""
    for form in _forms():
        if (parts := matched(form.find, node)) is not None:
            yield from (_rewritten(Place(teller, node, parts), *row[:3]) for row in form.rows)


@cache
def _forms() -> list[Form]:
    rows: dict[str, list[tuple[str, int, str, int]]] = {}
    for find, template, rank, words, *everywhere in rewrites():
        rows.setdefault(find, []).append((template, rank, words, everywhere[0] if everywhere else 0))
    return [Form(ast.parse(find, mode="eval").body, own) for find, own in rows.items()]


def _knows(teller: Teller, template: str) -> bool:
    """Whether the function has what a template names beside its parts."""
    return _named(template) <= {"self", *teller.function.scope[id(teller.line)]}


@cache
def _named(template: str) -> frozenset[str]:
    names = {node.id for node in ast.walk(ast.parse(template)) if isinstance(node, ast.Name)}
    return frozenset(name for name in names if len(name) > 1 and name not in ("torch", "nn", "math", *dir(builtins)))


def _rewritten(place: Place, template: str, rank: int, words: str) -> Change:
    return Change(place.teller.says(words, **place.parts), rank, dict([_new(place, template)]))


def _all(found: list[Place], template: str, _: int, words: str, rank: int) -> Change:
    steps = " and ".join(dict.fromkeys(place.teller.step for place in found))
    says = found[0].teller.says(words, **found[0].parts, step=steps)
    return Change(says, rank, dict(_new(place, template) for place in found))


def _new(place: Place, template: str) -> tuple[int, ast.AST | list[ast.stmt]]:
    """What is replaced, by its identity, and by what: an expression, or the whole statement that it is."""
    new = code(template, **place.parts)
    line = place.teller.line
    if isinstance(new[0], ast.Expr):
        return id(place.node), new[0].value
    assert isinstance(line, ast.Expr)
    return id(line), ast.parse("\n".join(map(ast.unparse, map(ast.fix_missing_locations, new)))).body
