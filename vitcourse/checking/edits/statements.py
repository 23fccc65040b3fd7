"""Statements: left out, done twice, moved, run too often or too seldom, done to an earlier value."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change, code, expr


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for body in bodies(function.node.body):
            for line in body:
                if isinstance(line, ast.For):
                    yield from _loop(Teller(function, line), line)
        if function.name.endswith("__init__"):
            continue
        for body in bodies(function.node.body):
            for line in body:
                yield from _left_out(Teller(function, line), line)
                yield from _moved(function, body, line)
        yield from _earlier_values(function)


def bodies(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Each run of statements, from the outside in."""
    yield body
    for line in body:
        for name in ("body", "orelse"):
            if inner := getattr(line, name, []):
                yield from bodies(inner)


def source(function: Function, line: ast.stmt) -> ast.Name | None:
    """The one tensor that a statement passes through one call, and so could be passed on as it is."""
    if not target(line) or not isinstance(line, ast.Assign) or not isinstance(line.value, ast.Call | ast.BinOp):
        return None
    axes = function.axes[id(line)]
    names = [node for node in ast.walk(line.value) if isinstance(node, ast.Name) and node.id in axes]
    return names[0] if len(names) == 1 else None


def target(line: ast.stmt) -> str:
    """The name to which a statement gives a value; empty where it gives none to one."""
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id
    return ""


def after(function: Function, line: ast.stmt) -> dict[str, tuple[str, ...]]:
    """The axes of the names after a statement."""
    lines = function.lines()
    place = lines.index(line)
    return function.axes[id(lines[place + 1])] if place + 1 < len(lines) else {}


def assigned(name: str, value: ast.expr) -> list[ast.stmt]:
    """The statement that gives the name this value."""
    return [ast.Assign([ast.Name(name, ast.Store())], value)]


def _left_out(teller: Teller, line: ast.stmt) -> Iterator[Change]:
    function, gone = teller.function, {id(line): list[ast.stmt]()}
    if target(line) and isinstance(line, ast.Assign):
        passed = source(function, line)
        if target(line) in function.scope[id(line)]:
            yield teller.change("never applied", gone)
        elif passed is not None:
            yield teller.change("never applied", {id(line.value): passed})
    elif isinstance(line, ast.Expr | ast.Assign):
        method = isinstance(getattr(line.value, "func", None), ast.Attribute) and isinstance(line, ast.Expr)
        yield teller.change("plays no part" if method else "never done", gone)
    elif isinstance(line, ast.For):
        yield teller.change("never applied", gone)
    elif isinstance(line, ast.With):
        yield teller.change("left out", {id(line): line.body})
        if not any(isinstance(inner, ast.Assign) for inner in line.body):
            yield teller.change("nothing of this", gone, what=function.steps_of(line.body))
    elif isinstance(line, ast.If) and not line.orelse:
        yield teller.change("no error" if isinstance(line.body[0], ast.Raise) else "left out", gone)
    elif isinstance(line, ast.Return):
        yield teller.change("no return", gone)


def _moved(function: Function, body: list[ast.stmt], line: ast.stmt) -> Iterator[Change]:
    """A statement somewhere else, or there too."""
    teller = Teller(function, line)
    if isinstance(line, ast.Expr):
        yield from _call_moved(teller, body, line)
        return
    passed = source(function, line)
    if isinstance(line, ast.Assign) and function.kinds.get(called(line.value)) == "nn.Module":
        yield teller.change("two forward passes", after={id(line): [line]})
    if passed is None or not isinstance(line, ast.Assign):
        return
    if function.axes[id(line)].get(passed.id) == after(function, line).get(target(line)):
        for other in function.lines():
            yield from _moved_to(teller, line, passed, other, inside=other not in body)


def _moved_to(teller: Teller, line: ast.Assign, passed: ast.Name, other: ast.stmt, inside: bool) -> Iterator[Change]:
    """A statement that keeps the shape, after another statement; inside tells that this one stands in a loop."""
    function, name = teller.function, target(other)
    lines, here_axes = function.lines(), after(function, other).get(name)
    own, place = lines.index(line), lines.index(other)
    fits, shape_free = here_axes == teller.axes[passed.id], _any_shape(function, line)
    if not name or here_axes is None or not (fits or shape_free) or not _known(function, line, other):
        return
    again = Change("", replace={id(passed): ast.Name(name, ast.Load())}).applied(line.value)
    here = {id(other): assigned(name, again)}
    where, belongs = f"after {function.step(other)}", "after the loop, once"
    if inside:
        where = f"inside the loop, {where}, each time anew"
    elif place + 1 < len(lines):
        where += f", before {function.step(lines[place + 1])}"
    if (fits or isinstance(line.value, ast.BinOp)) and other is not line and (inside or place != own - 1):
        gone: dict[int, ast.AST | list[ast.stmt]] = {id(line.value): passed}
        if target(line) == passed.id:
            gone = {id(line): []}
        if not inside:
            belongs = f"before {function.step(lines[own + 1])}"
            if place < own:
                belongs = f"after {function.step(lines[own - 1])}"
        yield teller.change("moved", gone, after=here, where=where, belongs=belongs)
    once = "It stands there twice" if other is line or place == own - 1 else "Once is enough"
    rank = 20 if shape_free else 0
    noun = called(line.value) or "one"
    yield teller.change("a second", after=here, rank=rank, noun=noun, where=where, once=once)


def _any_shape(function: Function, line: ast.Assign) -> bool:
    """Whether what a statement calls takes a tensor of any shape, as dropout does."""
    name = called(line.value)
    maker = function.attributes[name].maker if name in function.attributes else name
    return maker == "Dropout" or isinstance(line.value, ast.BinOp)


def _known(function: Function, line: ast.Assign, other: ast.stmt) -> bool:
    """Whether all that a statement reads is known after another one."""
    lines = function.lines()
    following = lines[lines.index(other) + 1 :][:1]
    scope = {"self", target(other), *(name for part in (other, *following) for name in function.scope[id(part)])}
    names = {node.id for node in ast.walk(line.value) if isinstance(node, ast.Name)}
    return names & set(function.kinds) <= scope


def _call_moved(teller: Teller, body: list[ast.stmt], line: ast.Expr) -> Iterator[Change]:
    """A call for its effect alone: the order of such calls is what people get wrong."""
    step, own, gone = teller.function.step, body.index(line), {id(line): list[ast.stmt]()}
    yield teller.change("comes twice", after={id(line): [line]})
    for place, other in enumerate(body):
        if place in (own - 1, own) or isinstance(other, ast.Return):
            continue
        if place > own:
            yield teller.change("too late", gone, after={id(other): [line]}, other=step(other))
        else:
            yield teller.change("too early", gone, after={id(other): [line]}, other=step(body[place + 1]))
    if own:
        yield teller.change("too early", gone, before={id(body[0]): [line]}, other=step(body[0]))


def _earlier_values(function: Function) -> Iterator[Change]:
    """A statement that reads what a name was before the last step or steps."""
    lines = function.lines()
    start = {id(lines[0]): function.axes[id(lines[0])]}
    for place, line in enumerate(lines):
        if isinstance(line, ast.For | ast.With | ast.If):
            continue
        axes = function.axes[id(line)]
        for node in ast.walk(line):
            if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load) or node.id not in axes:
                continue
            makers = [other for other in lines[:place] if target(other) == node.id]
            versions = [*([None] if node.id in function.arguments else []), *makers]
            keep = code("kept = value", value=ast.Name(node.id, ast.Load()))
            for version in versions[:-1]:
                then = start[id(lines[0])] if version is None else after(function, version)
                if then.get(node.id) == axes[node.id]:
                    older = "the input" if version is None else f"the result of {function.step(version)}"
                    yield Teller(function, line).change(
                        "earlier value",
                        {id(node): ast.Name("kept", ast.Load())},
                        before={id(lines[0]): keep} if version is None else {},
                        after={} if version is None else {id(version): keep},
                        older=older,
                        last=function.step(makers[-1]),
                    )


def _loop(teller: Teller, line: ast.For) -> Iterator[Change]:
    """Too short, over one thing again and again; a sum over the passes that keeps the last one alone."""
    over = line.iter
    for template, does in siblings()["loop"]:
        yield teller.change("loop", {id(over): expr(template, over=over)}, does=does)
    if isinstance(over, ast.Call) and len(over.args) == 3:
        fitting = expr("range(start, stop - by + 1, by)", **dict(zip(("start", "stop", "by"), over.args, strict=True)))
        yield teller.change("last one smaller", {id(over): fitting})
    for inner in line.body:
        added = inner.value if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.BinOp) else None
        if added is not None and target(inner) and getattr(added.left, "id", "") == target(inner):
            inside = Teller(teller.function, inner)
            yield inside.change("last pass kept", {id(added): added.right})
            yield inside.change("from 0 in every pass", before={id(line.body[0]): code(f"{target(inner)} = 0")})
