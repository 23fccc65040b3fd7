"""What nobody asked for: a function put round a value, gradients cut off or clipped, a value read, another dtype."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.order import after, target
from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code, expr, own_expressions
from vitcourse.checking.edits.values import is_number


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        if not function.name.endswith("__init__"):
            yield from _round_results(function)
            yield from _round_arguments(function)
            yield from _cut_off(function)
            yield from _residuals(function)
            yield from _read(function)
        for line in function.lines():
            if isinstance(line, ast.Raise):
                continue
            teller = Teller(function, line)
            for node in own_expressions(line):
                yield from _forms(teller, node)
                yield from _round_number(teller, node)
                if isinstance(node, ast.Call) and called(node) == "backward":
                    yield from _backward(teller, node)
            if isinstance(line, ast.Expr) and called(line.value) == "step":
                yield from _gradients(function, line)


def _round(teller: Teller, node: ast.expr, name: str, step: str) -> Iterator[tuple[ast.expr, str, int]]:
    """Each thing that may be put round a tensor, with its words."""
    axes = teller.shape(node) or ()
    last = axes[-1] if axes and axes[-1] != "…" else "the size of the last axis"
    for template, says, rank in siblings()["round"]:
        if ("transpose(1, 2)" in template and len(axes) not in (3, 4)) or ("clamp(-" in template and len(axes) != 2):
            continue
        words = (
            says.format(name, last)
            if "√{}" in says or "of {}:" in says or "by {}," in says
            else says.replace("{}", name)
        )
        yield expr(template, x=node), f"{sentence(words)} ({step}).", rank


def _round_results(function: Function) -> Iterator[Change]:
    """Something put round what a statement gives."""
    lines = function.lines()
    for line in lines:
        if isinstance(line, ast.Assign) and target(line) and target(line) in after(function, line):
            following = lines[lines.index(line) + 1]
            teller = Teller(function, following)
            name = teller.name(target(line))
            for new, says, rank in _round(
                teller, ast.Name(target(line), ast.Load()), name, f"after {function.step(line)}"
            ):
                changed = Change("", replace={}).applied(new)
                yield Change(
                    says,
                    rank,
                    after={id(line): [ast.Assign([ast.Name(target(line), ast.Store())], changed)]},
                )
        if isinstance(line, ast.Return) and line.value is not None:
            yield from _round_returned(function, line, line.value)


def _round_returned(function: Function, line: ast.Return, value: ast.expr) -> Iterator[Change]:
    teller = Teller(function, line)
    inside = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    parts = [part for whole in inside for part in (whole.elts if isinstance(whole, ast.Tuple) else [whole])]
    if isinstance(value, ast.Name | ast.Constant) or teller.function.node.returns is not None:
        return
    for part in parts:
        plain = isinstance(part, ast.Name)
        if plain and len(parts) == 1:
            continue
        if is_number(teller, part) or called(part) == "float":
            continue
        name = teller.tell(part) if plain else "what is returned"
        for new, says, rank in _round(teller, part, name, function.step(line)):
            yield Change(says, rank + 4, {id(part): new})


def _round_arguments(function: Function) -> Iterator[Change]:
    """Something done to an argument before all else."""
    first = function.node.body[0]
    teller = Teller(function, first)
    for argument in function.arguments:
        if argument in teller.axes and teller.axes[argument] not in ((), ("B",), ("n",)):
            name = teller.name(argument)
            for new, says, rank in _round(teller, ast.Name(argument, ast.Load()), name, "at the start"):
                start: list[ast.stmt] = [ast.Assign([ast.Name(argument, ast.Store())], new)]
                yield Change(says, rank + 4, before={id(first): start})


def _cut_off(function: Function) -> Iterator[Change]:
    """A value through which no gradient flows."""
    results = [
        line for line in function.lines() if isinstance(line, ast.Assign) and target(line) in after(function, line)
    ]

    def detached(line: ast.Assign) -> list[ast.stmt]:
        return code(f"{target(line)} = {target(line)}.detach()")

    for line in results:
        says = (
            f"No gradient flows back through {function.step(line)}: its result is detached from the graph, or "
            "computed under no_grad."
        )
        yield Change(says, 18, after={id(line): detached(line)})
    for one, other in itertools.combinations(results, 2):
        says = (
            f"No gradient flows through {function.step(one)}, and none through {function.step(other)}: both are "
            "detached from the graph, or computed under no_grad."
        )
        both = {id(one): detached(one), id(other): detached(other)}
        yield Change(says, 22, after=both)
    for place in function.lines():
        yield from _cut_off_at(Teller(function, place))


def _cut_off_at(teller: Teller) -> Iterator[Change]:
    function, line = teller.function, teller.line
    if not isinstance(line, ast.For | ast.If | ast.With):
        for node in own_expressions(line):
            tensor = isinstance(node, ast.Name) and node.id in teller.axes and isinstance(node.ctx, ast.Load)
            parameter = (
                isinstance(node, ast.Attribute)
                and node.attr in function.attributes
                and function.attributes[node.attr].kind == "parameter"
            )
            inner = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and teller.shape(node.func.value)
                and not (isinstance(line, ast.Assign) and line.value is node)
            )
            if tensor or parameter or inner:
                says = (
                    f"{sentence(teller.tell(node))} is detached (or under no_grad) in {teller.step}: no gradient "
                    "flows through it there, it is cut off from the graph."
                )
                if inner:
                    says = (
                        f"No gradient flows through {teller.tell(node)} in {teller.step}: it is detached from the "
                        "graph, or computed under no_grad."
                    )
                yield Change(says, 22, {id(node): expr("x.detach()", x=node)})


def _residuals(function: Function) -> Iterator[Change]:
    """The input added where nobody asked for it."""
    first = function.node.body[0]
    given = function.axes[id(first)]
    for argument in function.arguments:
        if argument not in given:
            continue
        keep = code("kept = value", value=ast.Name(argument, ast.Load()))
        for line in function.lines():
            if (
                isinstance(line, ast.Return)
                and line.value is not None
                and not isinstance(line.value, ast.IfExp | ast.Tuple)
            ):
                says = (
                    "The input is added to the result, a residual (skip connection) that doesn't belong here: the "
                    "block adds it, in 4.4."
                )
                new = expr("kept + x", x=line.value)
                yield Change(says, 22, {id(line.value): new}, before={id(first): keep})
            elif target(line) and after(function, line).get(target(line)) == given[argument]:
                says = (
                    f"The input is added after {function.step(line)}, a residual (skip connection) that doesn't "
                    "belong there: "
                    "the block adds its input, in 4.4, and nothing else does."
                )
                add = code(f"{target(line)} = {target(line)} + kept")
                yield Change(says, 22, before={id(first): keep}, after={id(line): add})
    for line in function.lines():
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.BinOp) and isinstance(line.value.op, ast.Add):
            continue
        name = target(line)
        if (
            name
            and after(function, line).get(name) == function.axes[id(line)].get(name)
            and isinstance(line, ast.Assign)
        ):
            own = expr("x + f", x=ast.Name(name, ast.Load()), f=line.value)
            says = (
                f"What goes into {function.step(line)} is added to what comes out: a residual that nobody asked "
                "for there."
            )
            yield Change(says, 26, {id(line.value): own})


def _read(function: Function) -> Iterator[Change]:
    """A value on the device, read by Python: where the function trains, that is waiting."""
    if not any(called(node) == "backward" for node in ast.walk(function.node)):
        return
    for line in function.lines():
        name = target(line)
        if not name or name not in after(function, line):
            continue
        for template, how in (
            ("repr({})", "printed, or made a text (print, __repr__, an f-string)"),
            ("f'{{{}}}'", "printed, or made a text (print, __format__, an f-string)"),
            ("{}.sum().item()", "read with item()"),
            ("bool({}.isnan().any())", "asked for in an if or assert (isnan, say)"),
            ("{}.cpu()", "moved to the CPU"),
        ):
            says = (
                f"{sentence(Teller(function, line).name(name))} is {how} after {function.step(line)}: reading a "
                "value waits for the device, a synchronisation."
            )
            yield Change(says, 28, after={id(line): code(template.format(name))})


def _forms(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Other ways to write a softmax, or its logarithm, that are none."""
    if called(node) == "softmax" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for template, says, rank in siblings()["softmax"]:
            yield Change(
                f"{sentence(says)} ({teller.step}).",
                rank,
                {id(node): expr(template, x=node.func.value)},
            )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and called(node.right) == "logsumexp":
        for template, says, rank in siblings()["log_softmax"]:
            yield Change(
                f"{sentence(says)} ({teller.step}).",
                rank,
                {id(node): expr(template, x=node.left)},
            )
    yield from _cosine(teller, node)
    if called(node) == "gather" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        table = node.func.value
        ignored = [code(f"{name} = {ast.unparse(default)}") for name, default in teller.function.defaults.items()]
        for template, says, rank in siblings()["gather"]:
            words = f"{sentence(says)} ({teller.step})."
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(node): expr(template, x=table)}
            yield Change(words, rank, replace)
            if ignored:
                start = {id(teller.function.node.body[0]): [line for lines in ignored for line in lines]}
                yield Change(words, rank + 4, replace, before=start)
        labels = node.args[-1]
        for by, said in (("+ 1", "the class after"), ("- 1", "the class before")):
            says = f"{sentence(teller.step)} takes {said} the label's: off by one."
            yield Change(says, 34, {id(labels): expr(f"(n {by}) % x.shape[1]", n=labels, x=table)})


def _cosine(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Half a cosine from 1 down to 0, in other forms: found as ½·(1 + cos(π·x))."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.right, ast.BinOp) or called(node.right.right) != "cos":
        return
    assert isinstance(node.right.right, ast.Call)
    angle = node.right.right.args[0]
    if isinstance(angle, ast.BinOp):
        for template, says, rank in siblings()["cosine"]:
            new = expr(template, x=angle.right)
            yield Change(f"{sentence(says)} ({teller.step}).", rank, {id(node): new})


def _round_number(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Something put round a Python number that is computed."""
    line = teller.line
    whole = isinstance(line, ast.Return | ast.Assign) and line.value is node
    if not whole or isinstance(node, ast.Name | ast.Constant | ast.Tuple) or teller.function.name.endswith("__init__"):
        return
    if isinstance(line, ast.Assign) and (not target(line) or target(line) in after(teller.function, line)):
        return
    if isinstance(line, ast.Return) and not (is_number(teller, node) or called(node) == "float"):
        return
    name = teller.name(target(line)) if target(line) else "what is returned"
    for template, says, rank in siblings()["round_number"]:
        yield Change(
            f"{sentence(says.replace('{}', name))} ({teller.step}).",
            rank,
            {id(node): expr(template, x=node)},
        )


def _backward(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """Something done to the loss for the backward pass alone."""
    assert isinstance(node.func, ast.Attribute)
    loss = node.func.value
    for template, says, rank in siblings()["backward"]:
        words = f"The loss is {says} ({teller.step})."
        yield Change(words, rank, {id(loss): expr(template, x=loss)})
    first = next((name for name, axes in teller.axes.items() if axes == ("B",)), "")
    if first:
        for template, said in (("x * len(n)", "multiplied by"), ("x / len(n)", "divided by")):
            says = (
                f"The loss is {said} the number of images before the backward pass, so the update is scaled by one "
                f"factor: too {'large' if '*' in template else 'small'}."
            )
            yield Change(says, 20, {id(loss): expr(template, x=loss, n=ast.Name(first, ast.Load()))})


def _gradients(function: Function, line: ast.Expr) -> Iterator[Change]:
    """Something done to the gradients before the optimizer uses them."""
    assert isinstance(line.value, ast.Call)
    assert isinstance(line.value.func, ast.Attribute)
    optimizer = line.value.func.value
    groups = expr("[p for g in o.param_groups for p in g['params']]", o=optimizer)
    for template, says, rank in siblings()["gradients"]:
        yield Change(f"{says}.", rank, before={id(line): code(template, ps=groups)})


__all__ = ["Function", "changes"]
