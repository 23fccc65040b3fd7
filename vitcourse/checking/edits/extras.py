"""What nobody asked for: a function put round a value, gradients cut off or clipped, a residual, a value read."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.statements import after, assigned, target
from vitcourse.checking.edits.telling import Teller, expressions
from vitcourse.checking.edits.trees import Change, code, expr
from vitcourse.checking.edits.values import is_number


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        if not function.name.endswith("__init__"):
            yield from _round_results(function)
            yield from _round_arguments(function)
            yield from _cut_off(function)
            yield from _residuals(function)
        trains = any(called(node) == "backward" for node in ast.walk(function.node))
        for line in function.lines():
            if trains and target(line) in after(function, line):
                yield from _read(Teller(function, line), target(line))
            if isinstance(line, ast.Expr) and called(line.value) == "step":
                yield from _gradients(Teller(function, line), line.value)
        for teller, node in expressions(function):
            yield from _round_number(teller, node)


def _round(teller: Teller, node: ast.expr, name: str, step: str) -> Iterator[tuple[ast.expr, str, int]]:
    """Each thing that may be put round a tensor, with its words."""
    axes = teller.shape(node) or ()
    last = axes[-1] if axes and axes[-1] != "…" else "the size of the last axis"
    for template, says, rank in siblings()["round"]:
        if ("transpose(1, 2)" in template and len(axes) not in (3, 4)) or ("clamp(-" in template and len(axes) != 2):
            continue
        if "triu" in template and last not in ("T", "Tk"):
            continue
        yield expr(template, x=node), teller.says(f"{says} ({step}).", x=name, D=last), rank


def _round_results(function: Function) -> Iterator[Change]:
    """Something put round what a statement gives, or around what is returned."""
    lines = function.lines()
    for line, following in itertools.pairwise(lines):
        if (name := target(line)) and name in after(function, line):
            teller, tensor = Teller(function, following), ast.Name(name, ast.Load())
            for new, says, rank in _round(teller, tensor, teller.name(name), f"after {function.step(line)}"):
                yield Change(says, rank, after={id(line): assigned(name, new)})
    for line in lines:
        if isinstance(line, ast.Return) and line.value is not None and not isinstance(line.value, ast.Name):
            yield from _round_returned(Teller(function, line), line.value)


def _round_returned(teller: Teller, value: ast.expr) -> Iterator[Change]:
    inside = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    parts = [part for whole in inside for part in (whole.elts if isinstance(whole, ast.Tuple) else [whole])]
    for part in parts:
        plain = isinstance(part, ast.Name)
        if isinstance(part, ast.Constant) or is_number(teller, part) or called(part) == "float":
            continue
        name = teller.tell(part) if plain else "what is returned"
        for new, says, rank in _round(teller, part, name, teller.step):
            yield Change(says, rank + 4, {id(part): new})


def _round_arguments(function: Function) -> Iterator[Change]:
    """Something done to an argument before all else."""
    first = function.node.body[0]
    teller = Teller(function, first)
    for name in function.arguments:
        if teller.axes.get(name, ()) not in ((), ("B",), ("n",)):
            for new, says, rank in _round(teller, ast.Name(name, ast.Load()), teller.name(name), "at the start"):
                yield Change(says, rank + 4, before={id(first): assigned(name, new)})


def _round_number(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Something put round a Python number that is computed."""
    function, line = teller.function, teller.line
    whole = isinstance(line, ast.Return | ast.Assign) and line.value is node
    if not whole or isinstance(node, ast.Name | ast.Constant | ast.Tuple) or function.name.endswith("__init__"):
        return
    if isinstance(line, ast.Assign) and (not target(line) or target(line) in after(function, line)):
        return
    if isinstance(line, ast.Return) and not (is_number(teller, node) or called(node) == "float"):
        return
    name = teller.name(target(line)) if target(line) else "what is returned"
    for template, says, rank in siblings()["round_number"]:
        yield Change(teller.says(says, x=name), rank, {id(node): expr(template, x=node)})


def _cut_off(function: Function) -> Iterator[Change]:
    """A value through which no gradient flows: a result, two of them, a part of a statement."""
    results = [line for line in function.lines() if target(line) in after(function, line)]
    detached = {id(line): code(f"{target(line)} = {target(line)}.detach()") for line in results}
    for line in results:
        yield Teller(function, line).change("result detached", after={id(line): detached[id(line)]})
    for one, other in itertools.combinations(results, 2):
        both = {id(line): detached[id(line)] for line in (one, other)}
        yield Teller(function, one).change("both detached", after=both, other=function.step(other))
    for teller, node in expressions(function):
        if isinstance(teller.line, ast.For | ast.If | ast.With):
            continue
        tensor = isinstance(node, ast.Name) and node.id in teller.axes and isinstance(node.ctx, ast.Load)
        kept = function.attributes.get(node.attr) if isinstance(node, ast.Attribute) else None
        whole = isinstance(teller.line, ast.Assign) and teller.line.value is node
        subject = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
        cut = {id(node): expr("x.detach()", x=node)}
        if tensor or (kept is not None and kept.kind == "parameter"):
            yield teller.change("value detached", cut, x=node)
        elif subject is not None and not whole and teller.shape(subject):
            yield teller.change("part detached", cut, x=node)


def _residuals(function: Function) -> Iterator[Change]:
    """The input added where nobody asked for it."""
    lines = function.lines()
    first = lines[0]
    given = function.axes[id(first)]
    for argument in (name for name in function.arguments if name in given):
        keep = {id(first): code("kept = value", value=ast.Name(argument, ast.Load()))}
        for line in lines:
            teller, name = Teller(function, line), target(line)
            value = line.value if isinstance(line, ast.Return) else None
            if value is not None and not isinstance(value, ast.IfExp | ast.Tuple):
                yield teller.change("residual at the end", {id(value): expr("kept + x", x=value)}, before=keep)
            elif name and after(function, line).get(name) == given[argument]:
                yield teller.change("residual", before=keep, after={id(line): code(f"{name} = {name} + kept")})


def _read(teller: Teller, name: str) -> Iterator[Change]:
    """A value on the device, read by Python: where the function trains, that is waiting."""
    for template, how in siblings()["read"]:
        yield teller.change(
            "read", after={id(teller.line): code(template.format(name))}, name=teller.name(name), how=how
        )


def _gradients(teller: Teller, node: ast.expr) -> Iterator[Change]:
    """Something done to the gradients before the optimizer uses them."""
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Attribute)
    parameters = expr("[p for g in o.param_groups for p in g['params']]", o=node.func.value)
    for template, says in siblings()["gradients"]:
        yield Change(f"{says}.", 20, before={id(teller.line): code(template, ps=parameters)})
