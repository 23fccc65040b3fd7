"""Syntax trees that are changed without being touched: a change makes new nodes on the way up, and shares the rest."""

import ast
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

Tree = TypeVar("Tree", bound=ast.AST)
Replace = Mapping[int, ast.AST | list[ast.stmt]]


@dataclass(frozen=True)
class Change:
    """One edit: what a learner is told, and by what a node is replaced, which is known by its identity.

    A statement may be replaced by several, or by none. rank is low where the mistake is often made.
    """

    says: str
    replace: Replace
    rank: int = 0

    @property
    def text(self) -> tuple[tuple[int, str], ...]:
        """What it does: two changes that do the same have the same text."""
        new = {key: part if isinstance(part, list) else [part] for key, part in self.replace.items()}
        return tuple((key, "".join(map(ast.dump, parts))) for key, parts in sorted(new.items()))

    def within(self, parents: Mapping[int, int]) -> set[int]:
        """The nodes in which it happens: those that are replaced, and all that these stand in."""
        found: set[int] = set()
        for node in self.replace:
            place: int | None = node
            while place is not None and place not in found:
                found.add(place)
                place = parents.get(place)
        return found

    def applied(self, tree: Tree, within: set[int] | None = None) -> Tree:
        """The tree with the change in it; the tree itself where the change lies elsewhere.

        within: those in which a node is replaced, where that is known.
        """
        new = self._node(tree, within)
        assert isinstance(new, ast.AST)
        return new  # type: ignore[return-value]

    def _node(self, node: ast.AST, within: set[int] | None) -> ast.AST | list[ast.stmt]:
        if id(node) in self.replace:
            return self.replace[id(node)]
        if within is not None and id(node) not in within:
            return node
        fields: dict[str, object] = {}
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                new = self._node(value, within)
                if new is not value:
                    fields[name] = new
            elif isinstance(value, list):
                items = self._list(value, within)
                if len(items) != len(value) or any(a is not b for a, b in zip(items, value, strict=True)):
                    fields[name] = items or ([ast.Pass()] if name == "body" else [])
        if not fields:
            return node
        whole = {name: fields.get(name, value) for name, value in ast.iter_fields(node)}
        return ast.copy_location(type(node)(**whole), node)

    def _list(self, values: list[ast.AST], within: set[int] | None) -> list[ast.AST]:
        items: list[ast.AST] = []
        for value in values:
            new = self._node(value, within)
            items += new if isinstance(new, list) else [new]
        return items


Parts = dict[str, ast.expr]


@cache
def _parsed(template: str) -> tuple[ast.Module, list[ast.Name]]:
    tree = ast.parse(template)
    return tree, [node for node in ast.walk(tree) if isinstance(node, ast.Name)]


def code(template: str, **parts: ast.expr) -> list[ast.stmt]:
    """The statements of a template, in which names stand for trees, and *R for the arguments of the call R."""
    (tree, names), rest = _parsed(template), parts.pop("R", None)
    filled = Change("", {id(node): parts[node.id] for node in names if node.id in parts}).applied(tree)
    if isinstance(rest, ast.Call):
        calls = [node for node in ast.walk(filled) if isinstance(node, ast.Call) and _is_rest(node.args[-1:])]
        for call in calls:
            whole = ast.Call(call.func, [*call.args[:-1], *rest.args], [*call.keywords, *rest.keywords])
            filled = Change("", {id(call): whole}).applied(filled)
    return list(filled.body)


def expr(template: str, **parts: ast.expr) -> ast.expr:
    """The same for an expression."""
    statement = code(template, **parts)[0]
    assert isinstance(statement, ast.Expr)
    return statement.value


def matched(form: ast.expr, node: ast.expr) -> Parts | None:
    """What the single small letters of a form, and *R, stand for in an expression; None where it hasn't that form."""
    parts: Parts = {}
    return parts if _matches(form, node, parts) else None


def _matches(form: object, node: object, parts: Parts) -> bool:
    if isinstance(form, ast.Name) and len(form.id) == 1 and form.id.islower() and isinstance(node, ast.expr):
        fits = form.id != "n" or not isinstance(node, ast.Constant)
        return fits and same(parts.setdefault(form.id, node), node)
    if isinstance(form, ast.Call) and isinstance(node, ast.Call) and _is_rest(form.args[-1:]):
        given = {keyword.arg for keyword in form.keywords}
        named = [keyword for keyword in node.keywords if keyword.arg in given]
        count = len(form.args) - 1
        parts["R"] = ast.Call(node.func, node.args[count:], [k for k in node.keywords if k not in named])
        form = ast.Call(form.func, form.args[:-1], form.keywords)
        node = ast.Call(node.func, node.args[:count], named)
    if isinstance(form, list) and isinstance(node, list):
        return len(form) == len(node) and all(map(_matches, form, node, itertools.repeat(parts)))
    if not isinstance(form, ast.AST) or not isinstance(node, ast.AST):
        return type(form) is type(node) and form == node
    return type(form) is type(node) and all(
        _matches(getattr(form, name, None), getattr(node, name, None), parts)
        for name in form._fields
        if name not in ("ctx", "kind")
    )


def _is_rest(last: list[ast.expr]) -> bool:
    return any(isinstance(part, ast.Starred) and getattr(part.value, "id", "") == "R" for part in last)


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two trees say the same."""
    return ast.dump(one) == ast.dump(other)


def bare(tree: Tree) -> Tree:
    """The tree, from which docstrings and annotations are taken: they take time to evaluate and do nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements in the order in which they stand, those inside others too."""
    for statement in body:
        yield statement
        for name in ("body", "orelse"):
            yield from statements(getattr(statement, name, []))


def own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """The expressions of a statement, not those of the statements inside it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.expr):
            yield node
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def parents(tree: ast.AST) -> dict[int, int]:
    """In which node each stands, by their identities."""
    return {id(child): id(node) for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
