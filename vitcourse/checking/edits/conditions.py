"""Conditions: turned round, always true, never true, one half of them, off by one."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change, expr

_SIGNS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_EDGES = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        tests = [(Teller(function, line), test) for line in function.lines() for test in _tests(line)]
        for teller, test in tests:
            for phrase, template in (("turned round", "not x"), ("always true", "True"), ("never true", "False")):
                yield teller.change(phrase, {id(test): expr(template, x=test)}, x=test)
            yield from _part(teller, test)
            yield from _comparison(teller, test)
        for line in function.lines():
            yield from _errors(Teller(function, line), line)


def _tests(line: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(line, ast.If):
        yield line.test
    elif not isinstance(line, ast.For | ast.Raise):
        for node in ast.walk(line.items[0].context_expr if isinstance(line, ast.With) else line):
            if isinstance(node, ast.IfExp):
                yield node.test
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Compare):
                yield node.value


def _part(teller: Teller, test: ast.expr) -> Iterator[Change]:
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            left = next(other for other in test.values if other is not part)
            yield teller.change("half a condition", {id(test): part}, part=part, left=left)
        said = " and ".join(map(teller.tell, test.values))
        either = isinstance(test.op, ast.Or)
        turned = ast.BoolOp(ast.And() if either else ast.Or(), test.values)
        yield teller.change("and for or" if either else "or for and", {id(test): turned}, parts=said)


def _comparison(teller: Teller, test: ast.expr) -> Iterator[Change]:
    for node in ast.walk(test):
        if not isinstance(node, ast.Compare) or type(node.ops[0]) not in _SIGNS:
            continue
        meant, right = _SIGNS[type(node.ops[0])], node.comparators[0]
        parts = {"a": node.left, "b": right}
        for sign in (sign for sign in _EDGES if sign != meant):
            edge = f" (off by one: at {teller.tell(right)} itself)" if _EDGES[meant] == sign else ""
            new = {id(node): expr(f"a {sign} b", **parts)}
            yield teller.change("other comparison", new, parts, sign=sign, meant=meant, edge=edge)
        for by, when in (("+ 1", "just after"), ("- 1", "just before"), ("+ 2", "just after")):
            for sign in (meant, ">" if meant == ">=" else "<="):
                new = {id(node): expr(f"a {sign} b {by}", **parts)}
                yield teller.change("off by one", new, parts, sign=sign, by=by, meant=meant, when=when)


def _errors(teller: Teller, line: ast.stmt) -> Iterator[Change]:
    """A branch that is missing, an error that is not raised."""
    if isinstance(line, ast.If) and line.orelse:
        yield teller.change("branch missing", {id(line): line.orelse})
        if isinstance(line.orelse[0], ast.Raise):
            yield teller.change("nothing raised", {id(line): ast.If(line.test, line.body, [])})
    if isinstance(line, ast.Raise):
        yield teller.change("not raised", {id(line): []})
