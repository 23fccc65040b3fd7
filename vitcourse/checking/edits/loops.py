"""Loops: too short, left early, over one thing again and again; and conditions of a run of images."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.order import bodies
from vitcourse.checking.edits.reference import Function, siblings
from vitcourse.checking.edits.telling import sentence
from vitcourse.checking.edits.trees import Change, code, expr


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for body in bodies(function.node.body):
            for place, line in enumerate(body):
                if isinstance(line, ast.For):
                    yield from _loop(function, line)
                    yield from _left_early(function, line, body[place + 1 :])
                    yield from _last_pass_alone(function, line)


def _loop(function: Function, line: ast.For) -> Iterator[Change]:
    step = function.step(line)
    over = line.iter
    for template, says, rank in siblings()["loop"]:
        yield Change(f"{sentence(step)} {says}.", rank, {id(over): expr(template, over=over)})
    if isinstance(over, ast.Call) and len(over.args) == 3:
        start, stop, by = over.args
        fitting = expr("range(start, stop - by + 1, by)", start=start, stop=stop, by=by)
        says = f"{sentence(step)} leaves out the last one when it is smaller than the others."
        yield Change(says, 15, {id(over): fitting})


def _left_early(function: Function, line: ast.For, rest: list[ast.stmt]) -> Iterator[Change]:
    if rest and isinstance(rest[-1], ast.Return):
        step = function.step(line)
        for length in range(1, len(rest) + 1):
            says = (
                f"{sentence(step)} is left after its first pass: the return stands inside the loop, "
                "indented too far, so only the first one counts."
            )
            inside = {id(line.body[-1]): rest[-length:]}
            yield Change(says, 15, after=inside)


def _last_pass_alone(function: Function, line: ast.For) -> Iterator[Change]:
    """A sum over the passes that keeps the last pass alone."""
    for inner in line.body:
        if not isinstance(inner, ast.Assign) or not isinstance(inner.value, ast.BinOp):
            continue
        before = inner.value.left
        if isinstance(inner.targets[0], ast.Name) and isinstance(before, ast.Name) and before.id == inner.targets[0].id:
            says = (
                f"{sentence(function.step(inner))} forgets the passes before: only the last one is kept, since "
                "nothing is added up."
            )
            yield Change(says, 15, {id(inner.value): inner.value.right})
            name = inner.targets[0].id
            again = {id(line.body[0]): code(f"{name} = 0")}
            says = (
                f"{sentence(function.step(inner))} starts from 0 in every pass of the loop, so only the last one "
                "is kept."
            )
            yield Change(says, 30, before=again)
