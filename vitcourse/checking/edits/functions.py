"""Whole functions: an argument that isn't used, arguments or results exchanged, what comes back, relatives."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.order import after, target
from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code, expr
from vitcourse.checking.edits.values import FIXED


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for argument in function.arguments:
            yield from _not_used(function, argument)
        yield from _arguments_exchanged(function)
        yield from _cut(function)
        yield from _relatives(function)
        yield from _divided_by(function)
        yield from _all_at_once(function)
        yield from _given_objects(function)
        yield from _new_axis(function)
        yield from _pairs_of_columns(function)
        for line in function.lines():
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Tuple):
                yield from _unpacked(function, line, line.targets[0])
            if isinstance(line, ast.Return) and line.value is not None:
                yield from _returned(function, line, line.value)
        for decorator in function.node.decorator_list:
            yield from _no_decorator(function, decorator)


def at_start(function: Function, says: str, rank: int, template: str, **parts: ast.expr) -> Change:
    """A change that runs a statement before all others."""
    return Change(says, rank, before={id(function.node.body[0]): code(template, **parts)})


def _not_used(function: Function, argument: str) -> Iterator[Change]:
    kind = function.kinds.get(argument, "")
    default = function.defaults.get(argument)
    ignored = f"the argument {argument} is not used, it is ignored"
    values = [ast.unparse(default)] if default is not None else []
    if kind == "number":
        floating = isinstance(getattr(default, "value", 0), float)
        values += ["0.1", "0.5", "0.2"] if floating else [str(value) for value in FIXED]
    for value in dict.fromkeys(values):
        says = f"{argument} is always {value}, a constant written in (hard-coded), whatever is given: {ignored}."
        rank = 14 if values.index(value) == 0 and default is not None else 30
        yield at_start(function, says, rank, f"{argument} = {value}")
    if default is not None and kind not in ("number", "tensor"):
        for value in ("True", "False", "torch.bfloat16"):
            if value != ast.unparse(default) and (value == "torch.bfloat16") == ("dtype" in argument) and kind != "str":
                says = (
                    f"{argument} is taken as {value} always, also when it is not asked for, without {argument}: "
                    f"{ignored}."
                )
                yield at_start(function, says, 20, f"{argument} = {value}")
    if kind == "tuple[int, int]":
        alike = [name for name in function.arguments if function.kinds.get(name) == kind]
        for side in ("round", "int"):
            square = "".join(f"{name} = ({side}(({name}[0] * {name}[1]) ** 0.5),) * 2\n" for name in alike)
            says = (
                "The grid is taken to be square, its side the root of the number of patches: what the argument "
                f"{argument} says is not used."
            )
            yield at_start(function, says, 22, square)
            first = {id(function.node.body[0]): code(square)}
            yield Change(says, 22, _inferred(function), before=first)
    if kind == "tensor":
        for template, said, rank in siblings()["instead"]:
            who = function.names.get(argument, argument)
            says = f"{sentence(said)} stands in the place of {who}: the argument {argument} is given, but never used."
            yield at_start(
                function,
                says,
                rank,
                f"{argument} = {template}",
                a=ast.Name(argument, ast.Load()),
            )


def _inferred(function: Function) -> dict[int, ast.AST | list[ast.stmt]]:
    """The calls of einops with one size fewer: the last one, which follows from the others."""
    calls = [node for node in ast.walk(function.node) if isinstance(node, ast.Call) and called(node) == "rearrange"]
    return {id(node): ast.Call(node.func, node.args, node.keywords[:1]) for node in calls if len(node.keywords) == 2}


def _arguments_exchanged(function: Function) -> Iterator[Change]:
    groups: dict[str, list[str]] = {}
    for argument in function.arguments:
        groups.setdefault(function.kinds.get(argument, ""), []).append(argument)
    for kind, names in groups.items():
        for one, other in itertools.combinations(names, 2):
            if kind in ("number", "tensor", "tuple[int, int]"):
                said = [function.names.get(name, name) for name in (one, other)]
                says = (
                    f"{sentence(said[0])} and {said[1]} are exchanged, swapped, from the start: the arguments are "
                    "taken in the other order."
                )
                yield at_start(function, says, 18, f"{one}, {other} = {other}, {one}")
            if kind == "tensor":
                for kept, lost in ((one, other), (other, one)):
                    said = [function.names.get(name, name) for name in (kept, lost)]
                    says = f"{sentence(said[0])} stand in for {said[1]} too: the argument {lost} is never used."
                    yield at_start(function, says, 26, f"{lost} = {kept}")


def _unpacked(function: Function, line: ast.Assign, target: ast.Tuple) -> Iterator[Change]:
    """Several names at once: in another order, or all the same."""
    names = [name for name in target.elts if isinstance(name, ast.Name)]
    teller = Teller(function, line)
    said = [teller.name(name.id) for name in names]
    if len(names) != len(target.elts) or "_" in (name.id for name in names):
        return
    for order in itertools.permutations(range(len(names))):
        if list(order) == sorted(order):
            continue
        moved = [said[place] for place in order]
        pairs = [place for place, other in enumerate(order) if place != other]
        if len(pairs) == 2:
            what = (
                f"{said[pairs[0]]} and {said[pairs[1]]} are exchanged, swapped: ({', '.join(said)}) is the order, "
                f"and here it is ({', '.join(moved)}), the other way round"
            )
            if {"gh", "gw"} <= set(said):
                what += "; grid is (rows, columns)"
        else:
            what = f"the order is {', '.join(moved)} where {', '.join(said)} is meant: all are exchanged"
        new = ast.Tuple([names[place] for place in order], ast.Store())
        yield Change(
            f"{sentence(what)} ({teller.step}).",
            10 + len(pairs),
            {id(target): new},
        )
    for place, name in enumerate(names):
        others = [other for other in names if other is not name]
        same = code("".join(f"{other.id} = {name.id}\n" for other in others))
        ordinal = ("first", "second", "third", "last")[place]
        all_of_them = " and ".join([*(part for part in said if part != said[place]), said[place]])
        says = (
            f"{sentence(all_of_them)} are all the same {ordinal} part ({teller.step}); the other parts are never used."
        )
        if len(names) == 2:
            lost = said[1 - place]
            says = (
                f"{sentence(lost)} is taken to be equal to {said[place]}, as if it were square ({teller.step}): "
                f"the {ordinal} one alone is used, {lost} never."
            )
        yield Change(says, 18, after={id(line): same})
        for other in others:
            if len(names) > 2:
                alike = teller.name(other.id)
                says = f"{sentence(alike)} and {said[place]} are one and the same part ({teller.step})."
                yield Change(
                    says,
                    18,
                    after={id(line): code(f"{other.id} = {name.id}")},
                )


def _returned(function: Function, line: ast.Return, value: ast.expr) -> Iterator[Change]:
    teller = Teller(function, line)
    pair = value.body if isinstance(value, ast.IfExp) else value
    if isinstance(pair, ast.Tuple):
        a, b = pair.elts
        said = [teller.tell(part) for part in pair.elts]
        says = f"The pair comes in the wrong order, exchanged: {said[0]} first, {said[1]} second."
        yield Change(says, 10, {id(pair): ast.Tuple([b, a])})
        for part, which, lost in ((a, said[0], said[1]), (b, said[1], said[0])):
            says = (
                f"What comes back is {which} alone, and not the pair of {said[0]} and {said[1]}: {lost} should "
                "come too."
            )
            yield Change(says, 14, {id(pair): part})
        yield Change("A list comes back; a pair (a tuple) is asked for.", 40, {id(pair): ast.List(pair.elts)})
    for name in function.scope[id(line)]:
        shape = teller.axes.get(name)
        if shape is None:
            continue
        for part in pair.elts if isinstance(pair, ast.Tuple) else [pair]:
            if isinstance(part, ast.Name) and part.id != name and teller.name(name) != teller.name(part.id):
                says = f"{sentence(teller.name(name))} is returned in place of {teller.name(part.id)} ({teller.step})."
                yield Change(says, 18, {id(part): ast.Name(name, ast.Load())})
        if not isinstance(value, ast.Tuple):
            says = f"A pair comes back, with {teller.name(name)} as its second; one thing alone is asked for."
            yield Change(
                says,
                26,
                {id(value): ast.Tuple([value, ast.Name(name, ast.Load())])},
            )
    yield from _computed_again(function, line)


def _computed_again(function: Function, line: ast.Return) -> Iterator[Change]:
    """What is returned, computed anew at the end, after calls that changed what it rests on."""
    body = function.node.body
    if line is not body[-1] or not any(isinstance(other, ast.Expr) for other in body[1:]):
        return
    again = [other for other in body if not isinstance(other, ast.Expr | ast.Return)]
    if not all(isinstance(other, ast.Assign | ast.With | ast.If) for other in again) or len(body) - len(again) < 3:
        return
    plain = [
        inner
        for other in again
        if not isinstance(other, ast.If)
        for inner in (other.body if isinstance(other, ast.With) else [other])
    ]
    for lines, guarded in itertools.product((again, plain), (True, False)):
        repeated: list[ast.stmt] = [ast.With([ast.withitem(expr("torch.no_grad()"))], lines)] if guarded else lines
        says = (
            "What comes back is computed a second time, after the update: the model runs twice, in a second "
            "forward pass; the loss from "
            "before the update is asked for."
        )
        yield Change(says, 18, before={id(line): repeated})


def _cut(function: Function) -> Iterator[Change]:
    """Fewer images than were given: the first batch alone, whole batches alone."""
    first = function.axes[id(function.node.body[0])]
    alike = [name for name, axes in first.items() if axes and axes[0] == "n"]
    counts = [name for name in function.arguments if function.kinds.get(name) == "number"]
    if len(alike) < 2:
        return
    for count in counts:
        for template, says, rank in siblings()["cut"]:
            cut = [line for name in alike for line in code(template.format(name, count))]
            yield Change(f"{says}.", rank, before={id(function.node.body[0]): cut})


def _divided_by(function: Function) -> Iterator[Change]:
    """A number of things, taken as the number of batches or of one batch."""
    counts = [name for name in function.arguments if function.kinds.get(name) == "number"]
    for line in function.lines():
        if isinstance(line, ast.For):
            continue
        for node in ast.walk(line):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and called(node.right) == "len"):
                continue
            for count in counts:
                one = ast.Name(count, ast.Load())
                says = "The count is divided by the size of a batch; it should be divided by the number of images."
                yield Change(says, 16, {id(node.right): one})
                for template in ("-(-n // c)", "n // c", "n // c + 1", "(n / c)"):
                    says = (
                        "The count is divided by the number of batches; it should be divided by the number of images."
                    )
                    new = expr(template, n=node.right, c=ast.Name(count, ast.Load()))
                    yield Change(says, 16, {id(node.right): new})
                whole = expr("(-(-n // c) * c)", n=node.right, c=ast.Name(count, ast.Load()))
                says = (
                    "The count is divided as if every batch were full, the last, smaller one too; it should be "
                    "divided by the number of images."
                )
                yield Change(says, 18, {id(node.right): whole})


def _all_at_once(function: Function) -> Iterator[Change]:
    """All images in one batch, whatever size is asked for."""
    first = function.axes[id(function.node.body[0])]
    name = next((name for name, axes in first.items() if axes and axes[0] == "n"), "")
    for count in function.arguments:
        if name and function.kinds.get(count) == "number":
            says = f"All images run at once, as one batch: {count} is not used, it is ignored."
            yield at_start(function, says, 18, f"{count} = len({name})")


def _relatives(function: Function) -> Iterator[Change]:
    """A function of single numbers, and its relatives."""
    first = function.axes[id(function.node.body[0])]
    if list(first.values()) != [("…",)]:
        return
    (name,) = first
    returns = [line for line in function.lines() if isinstance(line, ast.Return)]
    for template, says, rank in siblings()["relatives"]:
        for line in returns:
            if line.value is not None:
                new = expr(template, x=ast.Name(name, ast.Load()))
                yield Change(f"{says}.", rank, {id(line.value): new})


def _given_objects(function: Function) -> Iterator[Change]:
    """An optimizer that was given, and is not used."""
    for name in function.arguments:
        if not function.kinds.get(name, "").endswith("Optimizer"):
            continue
        groups = f"[p for g in {name}.param_groups for p in g['params']]"
        makers = [f"torch.optim.{kind}({groups})" for kind in ("Adam", "AdamW", "SGD")]
        makers += [
            f"torch.optim.{kind}({groups}, lr={lr})"
            for kind in ("SGD", "Adam", "AdamW")
            for lr in (0.1, 0.01, 0.001, 0.0001, 0.0003, 1.0)
        ]
        for made in makers:
            kind = made.removeprefix("torch.optim.").partition("(")[0]
            says = (
                f"The optimizer that was given is not used: a new one ({kind}), made inside in every step, takes "
                "its place."
            )
            yield at_start(function, says, 18, f"{name} = {made}")


def _new_axis(function: Function) -> Iterator[Change]:
    """A new axis that is never filled: one whole where several parts are meant; and a loop over it."""
    uses = []
    for line in function.lines():
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call) and target(line):
            before = [function.axes[id(line)].get(node.id) for node in line.value.args if isinstance(node, ast.Name)]
            new = after(function, line).get(target(line))
            if new and before and before[0] and len(new) == len(before[0]) + 1 and len(line.value.args) == 2:
                uses.append((line.value, new))
    if len(uses) < 2:
        return
    place = 1
    symbol, count = uses[0][1][place], uses[0][0].args[1]
    if symbol != "h":
        return
    replace: dict[int, ast.AST | list[ast.stmt]] = {
        id(call): expr(f"x.unsqueeze({place})", x=call.args[0]) for call, _ in uses
    }
    shown = dict(replace)
    for line in function.lines():
        for node in ast.walk(line):
            axes = Teller(function, line).axes.get(node.id) if isinstance(node, ast.Name) else None
            if (
                isinstance(line, ast.Return)
                and isinstance(node, ast.Name)
                and axes
                and axes[place : place + 1] == (symbol,)
            ):
                shown[id(node)] = expr(f"x.expand(-1, n, *x.shape[{place + 1}:])", x=node, n=count)
    says = "The tokens are never split: there is one head over the whole width, all of D"
    for change, end in ((replace, "."), (shown, ", and its weights are shown once for each head.")):
        yield Change(f"{says}{end}", 20, change)
    yield from _one_at_a_time(function, place, symbol)


def _one_at_a_time(function: Function, place: int, symbol: str) -> Iterator[Change]:
    """A loop over an axis that should be worked on at once."""
    for line in function.lines():
        if (
            not isinstance(line, ast.Assign)
            or not isinstance(line.value, ast.Call)
            or not isinstance(line.targets[0], ast.Tuple)
        ):
            continue
        axes = function.axes[id(line)]
        arguments = [
            node
            for node in line.value.args
            if isinstance(node, ast.Name) and axes.get(node.id, ())[place : place + 1] == (symbol,)
        ]
        if len(arguments) < 2:
            continue
        part = [expr("x[:, i]", x=node) for node in arguments]
        each = ast.Call(line.value.func, part, [])
        new = expr(
            f"[torch.stack(r, {place}) for r in zip(*[each for i in range(x.shape[{place}])])]",
            each=each,
            x=arguments[0],
        )
        says = (
            f"A Python loop runs the heads one at a time ({function.step(line)}): the number of products grows "
            "with h; all heads are worked on at once."
        )
        yield Change(says, 20, {id(line.value): new})


def _pairs_of_columns(function: Function) -> Iterator[Change]:
    """A table filled by every second column, whose pairs share one number: each column with a number of its own."""
    for line in function.lines():
        made = line.value if isinstance(line, ast.Assign) else None
        if not isinstance(made, ast.Call) or called(made) != "arange" or len(made.args) != 3:
            continue
        start, stop, _ = made.args
        filled = [
            (other, other.targets[0].slice.elts[-1])
            for other in function.lines()
            if isinstance(other, ast.Assign)
            and isinstance(other.targets[0], ast.Subscript)
            and isinstance(other.targets[0].slice, ast.Tuple)
        ]
        if not filled:
            continue
        for template, said in (
            ("torch.arange(a, e)", "of its own"),
            ("2 * torch.arange(a, e)", "of its own, and that is doubled: the column's number stands for i"),
        ):
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(made): expr(template, a=start, e=stop)}
            for other, columns in filled:
                value = other.value.value if isinstance(other.value, ast.Subscript) else other.value
                replace[id(other.value)] = ast.Subscript(
                    value, ast.Tuple([ast.Slice(), columns], ast.Load()), ast.Load()
                )
            says = (
                f"Each column has an angle {said}; a sine and the cosine beside it share one, that of the even "
                "column 2i."
            )
            yield Change(says, 20, replace)


def _no_decorator(function: Function, decorator: ast.expr) -> Iterator[Change]:
    kept = {name: value for name, value in ast.iter_fields(function.node) if name != "decorator_list"}
    new = ast.FunctionDef(**kept, decorator_list=[])
    if isinstance(function.definition, ast.FunctionDef):
        says = "Gradients are recorded: torch.no_grad() is missing, which spares them."
        yield Change(says, 14, {id(function.node): new})
