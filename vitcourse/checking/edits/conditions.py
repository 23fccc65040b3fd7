"""Conditions: turned round, always true, never true, one half of them, off by one."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, expr, same

_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        tests = []
        for line in function.lines():
            teller = Teller(function, line)
            for test in _tests(line):
                tests.append((teller, test))
                yield from _turned(teller, test)
                yield from _part(teller, test)
                yield from _comparison(teller, test)
            if isinstance(line, ast.If):
                yield from _branches(function, line)
            if isinstance(line, ast.Raise):
                yield from _another_error(function, line)
        yield from _everywhere(tests)


def _tests(line: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(line, ast.If):
        yield line.test
    elif not isinstance(line, ast.For | ast.Raise):
        for node in ast.walk(line.items[0].context_expr if isinstance(line, ast.With) else line):
            if isinstance(node, ast.IfExp):
                yield node.test
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Compare):
                yield node.value


def _turned(teller: Teller, test: ast.expr) -> Iterator[Change]:
    said = f"The condition \u201c{teller.tell(test)}\u201d ({teller.step})"
    for template, says, rank in (
        ("not test", "is the wrong way round, inverted: what should happen when it holds happens when it doesn't", 12),
        ("True", "is taken as always true", 15),
        ("False", "is never true here: what it guards doesn't happen", 15),
    ):
        yield Change(f"{said} {says}.", rank, {id(test): expr(template, test=test)})


def _everywhere(tests: list[tuple[Teller, ast.expr]]) -> Iterator[Change]:
    """The same condition, wherever it is asked."""
    for place, (teller, test) in enumerate(tests):
        alike = [other for _, other in tests if same(test, other)]
        if len(alike) < 2 or any(same(test, other) for _, other in tests[:place]):
            continue
        said = f"Whether \u201c{teller.tell(test)}\u201d is never asked: {teller.step}"
        for value, says in (
            ("True", "is always on, although not asked for, as without it"),
            ("False", "is always off, also when asked for"),
        ):
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(other): expr(value) for other in alike}
            yield Change(f"{said} {says}.", 14, replace)


def _part(teller: Teller, test: ast.expr) -> Iterator[Change]:
    if not isinstance(test, ast.BoolOp):
        return
    for part in test.values:
        left = next(other for other in test.values if other is not part)
        says = f"{sentence(teller.step)} looks only at {teller.tell(part)}; {teller.tell(left)} is never looked at."
        yield Change(says, 14, {id(test): part})
    other_op = ast.And() if isinstance(test.op, ast.Or) else ast.Or()
    said = " and ".join(teller.tell(part) for part in test.values)
    both = (
        "only when all of them hold: \u201cand\u201d stands for \u201cor\u201d"
        if isinstance(test.op, ast.Or)
        else "when one of them holds: \u201cor\u201d stands for \u201cand\u201d"
    )
    says = f"{sentence(teller.step)} fires {both} ({said})."
    yield Change(says, 18, {id(test): ast.BoolOp(other_op, test.values)})


def _comparison(teller: Teller, test: ast.expr) -> Iterator[Change]:
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            for operator, sign in ((ast.Lt(), "<"), (ast.Gt(), ">"), (ast.NotEq(), "!=")):
                compared = ast.Compare(node.left, [operator], [node.right])
                says = (
                    f"{sentence(teller.step)} asks whether {teller.tell(node.left)} {sign} {teller.tell(node.right)}; "
                    "it should ask whether the one divides by the other."
                )
                yield Change(says, 22, {id(node): compared})
            says = (
                f"{sentence(teller.step)} takes the two numbers the wrong way round: {teller.tell(node.right)} % "
                f"{teller.tell(node.left)}."
            )
            turned = ast.BinOp(node.right, ast.Mod(), node.left)
            yield Change(says, 24, {id(node): turned})
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], _COMPARISONS):
            continue
        left, right = teller.tell(node.left), teller.tell(node.comparators[0])
        meant = _SIGNS[type(node.ops[0])]
        for kind in _COMPARISONS:
            if not isinstance(node.ops[0], kind):
                compared = ast.Compare(node.left, [kind()], node.comparators)
                says = (
                    f"The condition is {left} {_SIGNS[kind]} {right}; it should be {left} {meant} "
                    f"{right}{_edge(node, kind, right)}."
                )
                yield Change(says, 20, {id(node): compared})
        for by in (1, -1, 2):
            moved = expr(f"right + {by}", right=node.comparators[0])
            for kind in (type(node.ops[0]), ast.Gt if isinstance(node.ops[0], ast.GtE) else ast.LtE):
                compared = ast.Compare(node.left, [kind()], [moved])
                edge = f"{right} {'+' if by > 0 else '-'} {abs(by)}"
                says = (
                    f"The condition is {left} {_SIGNS[kind]} {edge} where {left} {meant} {right} is meant: off by one "
                    f"or more, so {'just after' if by > 0 else 'just before'} {right} the wrong case holds."
                )
                yield Change(says, 24, {id(node): compared})


def _edge(node: ast.Compare, kind: type[ast.cmpop], right: str) -> str:
    turned = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
    return f" (off by one: at {right} itself)" if turned[type(node.ops[0])] is kind else ""


def _branches(function: Function, line: ast.If) -> Iterator[Change]:
    """One branch missing, or done in another's place."""
    step = function.step(line)
    if line.orelse:
        yield Change(f"{sentence(step)} is missing.", 20, {id(line): line.orelse})
        if isinstance(line.orelse[0], ast.Raise):
            says = f"Where {step} doesn't hold there is no error: nothing is raised."
            gone = ast.If(line.test, line.body, [])
            yield Change(says, 16, {id(line): gone})


def _another_error(function: Function, line: ast.Raise) -> Iterator[Change]:
    if isinstance(line.exc, ast.Call):
        for error in ("AssertionError", "Exception", "TypeError", "RuntimeError"):
            says = f"The error is of another kind, {error}; a ValueError is asked for."
            if error == "AssertionError":
                says = "The error is an AssertionError, as assert raises it; a ValueError is asked for."
            yield Change(says, 22, {id(line.exc.func): ast.Name(error, ast.Load())})
        says = "The ValueError is made or told, but not raised."
        yield Change(says, 25, {id(line): []})
