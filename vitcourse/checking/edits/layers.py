"""Layers and parameters: how __init__ makes them, what it keeps them as, whether each is its own."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code, expr
from vitcourse.checking.edits.values import FIXED


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all classes."""
    for function in own:
        if not function.name.endswith("__init__"):
            continue
        forward = next(
            (other for other in own if other.definition is function.definition and other is not function), None
        )
        for line in function.lines():
            yield from _layer(function, line)
            yield from _kept_number(function, line)
        yield from _kinds(function)
        yield from _shared(function)
        yield from _starts(function)
        yield from _fewer_axes(function)
        if forward is not None:
            yield from _list(function, forward)
            yield from _made_anew(function, forward)


def kept_as(line: ast.stmt) -> tuple[str, ast.expr, str] | None:
    """The name, tensor and kind of a parameter or buffer that a statement makes."""
    if (
        isinstance(line, ast.Assign)
        and isinstance(line.targets[0], ast.Attribute)
        and called(line.value) == "Parameter"
    ):
        assert isinstance(line.value, ast.Call)
        return line.targets[0].attr, line.value.args[0], "parameter"
    if isinstance(line, ast.Expr) and called(line.value) == "register_buffer":
        assert isinstance(line.value, ast.Call)
        return ast.literal_eval(line.value.args[0]), line.value.args[1], "buffer"
    return None


def _kind_changes(line: ast.stmt) -> Iterator[tuple[str, str, list[ast.stmt]]]:
    """Each other thing that a parameter or buffer may be kept as: which, the words, and the statement."""
    kept = kept_as(line)
    if kept is not None:
        name, tensor, kind = kept
        for template, says, other in siblings()["kept"][kind]:
            yield other, says.format(name), code(template.format(name), t=tensor)


def _kinds(function: Function) -> Iterator[Change]:
    """Plain tensor, buffer, parameter: one for another, at one place or at two."""
    lines = [line for line in function.lines() if kept_as(line)]
    for line in lines:
        for _, says, new in _kind_changes(line):
            yield Change(f"{sentence(says)} ({function.step(line)}).", 12, {id(line): new})
    for one, other in itertools.combinations(lines, 2):
        for (kind, says, new), (same_kind, too, also) in itertools.product(_kind_changes(one), _kind_changes(other)):
            if kind == same_kind:
                (name, _, told), (second, _, alike) = says.partition(" "), too.partition(" ")
                both = f"{name} and {second}: each {told}." if told == alike else f"{sentence(says)}; and {too}."
                yield Change(both, 14, {id(one): new, id(other): also})


def _starts(function: Function) -> Iterator[Change]:
    """The values with which parameters start."""
    lines = [(line, kept) for line in function.lines() if (kept := kept_as(line)) and kept[2] == "parameter"]
    sets = [[line] for line in lines] + ([lines] if len(lines) > 1 else [])
    for group in sets:
        names = " and ".join(kept[0] for _, kept in group)
        for template, said, rank in siblings()["starts"]:
            replace: dict[int, ast.AST | list[ast.stmt]] = {id(kept[1]): expr(template, t=kept[1]) for _, kept in group}
            says = (
                f"The initial values of {names} are {said}; {_meant(group[0][1][1])} (the start is part of the "
                "contract)."
            )
            yield Change(says, rank, replace)
    for line in function.lines():
        if isinstance(line, ast.If) and line.orelse and isinstance(line.orelse[0], ast.If):
            yield from _start_of_other_branch(function, line.body, line.orelse[0].body)
            yield from _start_of_other_branch(function, line.orelse[0].body, line.body)


def _fewer_axes(function: Function) -> Iterator[Change]:
    """A parameter without the axes of size 1."""
    for line in function.lines():
        kept = kept_as(line)
        for node in ast.walk(kept[1]) if kept else ():
            if (
                isinstance(node, ast.Call)
                and called(node) in ("randn", "zeros", "ones")
                and len(node.args) > 1
                and kept
            ):
                for place, size in enumerate(node.args):
                    if isinstance(size, ast.Constant):
                        fewer = ast.Call(node.func, [*node.args[:place], *node.args[place + 1 :]], node.keywords)
                        says = f"{kept[0]} lacks an axis of size 1: its shape is another than the contract's."
                        yield Change(says, 24, {id(node): fewer})
                last = ast.Call(node.func, node.args[-1:], node.keywords)
                says = f"{kept[0]} has one axis alone; its shape is another than the contract's."
                yield Change(says, 24, {id(node): last})


def _meant(tensor: ast.expr) -> str:
    makers = {called(node) for node in ast.walk(tensor)}
    if "randn" in makers:
        return "noise of deviation 0.02 is asked for"
    return "they should start as ones" if "ones" in makers else "they should start as zeros"


def _start_of_other_branch(function: Function, one: list[ast.stmt], other: list[ast.stmt]) -> Iterator[Change]:
    """What one branch keeps, with the value that another would give it."""
    for line in one:
        for instead in other:
            mine, theirs = kept_as(line), kept_as(instead)
            if mine and theirs and mine[0] == theirs[0]:
                place = next(i for i, statement in enumerate(other) if statement is instead)
                start = function.step(other[0]) if place else "what it is in the other case"
                noise = any(called(node) == "randn" for node in ast.walk(mine[1]))
                says = f"{mine[0]} starts as {start} ({function.step(line)}): its initial values are wrong"
                says += "; small noise is meant." if noise else "."
                yield Change(says, 20, {id(mine[1]): theirs[1]}, before={id(line): other[:place]})


def _layer(function: Function, line: ast.stmt) -> Iterator[Change]:
    if (
        not isinstance(line, ast.Assign)
        or not isinstance(line.targets[0], ast.Attribute)
        or not isinstance(line.value, ast.Call)
    ):
        return
    name, call = line.targets[0].attr, line.value
    if called(call) in ("Linear", "Conv2d"):
        yield _with(
            line, call, "bias", "False", f"{name} has no bias (bias=False); the contract has biases throughout", 14
        )
    if called(call) == "Linear":
        for place, said in ((0, "inputs"), (1, "outputs")):
            whole = Teller(function, line).tell(call.args[place])
            for times in (2, 3, 4):
                says = f"{name} has {times} times as many {said}, {times}·{whole}; it should be {whole}."
                yield Change(says, 34, {id(call.args[place]): expr(f"{times} * n", n=call.args[place])})
    if called(call) == "Conv2d":
        size = next(
            (keyword.value for keyword in call.keywords if keyword.arg == "kernel_size"),
            call.args[2] if len(call.args) > 2 else None,
        )
        for padding, said in (
            ("1", "a pixel"),
            ("2", "two pixels"),
            ("size // 2", "half a patch"),
            ("size", "a patch"),
            ("size - 1", "P - 1 pixels"),
        ):
            if size is None:
                continue
            new = [*call.keywords, ast.keyword("padding", expr(padding, size=size))]
            says = (
                f"The padding is {said} at each border: the image is padded, so the windows are no longer the "
                "patches; padding should be 0."
            )
            yield Change(says, 20, {id(call): ast.Call(call.func, call.args, new)})
        yield _with(line, call, "dilation", "2", f"{name} has a dilation of 2: its pixels lie apart", 40)
        for keyword in call.keywords:
            for stride in ("1", "2", "size // 2", "size + 1", "max(size - 1, 1)"):
                said = {"1": "1: the windows overlap", "2": "2", "size // 2": "half a patch: the windows overlap"}.get(
                    stride, "off by one"
                )
                if keyword.arg == "stride":
                    says = f"The stride of {name} is {said}; it should be P."
                    yield Change(says, 20, {id(keyword.value): expr(stride, size=keyword.value)})
                if keyword.arg == "kernel_size" and stride != "2":
                    says = f"The kernel of {name} is not P pixels wide; it should be P."
                    yield Change(says, 30, {id(keyword.value): expr(stride, size=keyword.value)})


def _with(line: ast.stmt, call: ast.Call, name: str, value: str, says: str, rank: int) -> Change:
    new = ast.Call(call.func, call.args, [*call.keywords, ast.keyword(name, expr(value))])
    return Change(f"{says}.", rank, {id(call): new})


def _kept_number(function: Function, line: ast.stmt) -> Iterator[Change]:
    """self.n = n, with a constant in its place."""
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Attribute) and isinstance(line.value, ast.Name):
        name = line.value.id
        default = function.defaults.get(name)
        values = [ast.unparse(default)] if default is not None else [str(value) for value in FIXED]
        for value in values:
            says = f"{name} is fixed at {value}, hard-coded: the argument {name} is not used, it is ignored."
            if name.startswith("n_") and value == "1":
                says = f"There is one {name[2:-1]} only, with all the width: {name} is not used, it is ignored."
            yield Change(says, 16, {id(line.value): expr(value)})


def _shared(function: Function) -> Iterator[Change]:
    """One layer in several roles."""
    made: dict[str, list[ast.Assign]] = {}
    for line in function.lines():
        if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Attribute):
            continue
        if isinstance(line.value, ast.Call) and called(line.value) not in ("Parameter", "Dropout"):
            made.setdefault(ast.dump(line.value), []).append(line)
    for lines in made.values():
        names = [line.targets[0].attr for line in lines if isinstance(line.targets[0], ast.Attribute)]
        for count in range(2, len(lines) + 1):
            for group in itertools.combinations(range(len(lines)), count):
                first, *rest = group
                said = " and ".join([", ".join(names[place] for place in group[:-1]), names[group[-1]]])
                says = f"{said} are one and the same layer, which they share; each needs a layer of its own."
                replace: dict[int, ast.AST | list[ast.stmt]] = {
                    id(lines[place].value): expr(f"self.{names[first]}") for place in rest
                }
                yield Change(says, 12, replace)


def _list(function: Function, forward: Function) -> Iterator[Change]:
    """A ModuleList: a plain list, one layer many times, too many or too few."""
    for line in function.lines():
        if (
            not isinstance(line, ast.Assign)
            or not isinstance(line.targets[0], ast.Attribute)
            or called(line.value) != "ModuleList"
        ):
            continue
        assert isinstance(line.value, ast.Call)
        made, name = line.value.args[0], line.targets[0].attr
        if not isinstance(made, ast.GeneratorExp):
            continue
        count = made.generators[0].iter
        assert isinstance(count, ast.Call)
        number, one = count.args[0], made.elt
        for template, says in (
            (
                "[*m]",
                f"{name} is a plain list, which hides its layers: their parameters are not registered; an "
                "nn.ModuleList registers them",
            ),
            (
                "nn.ModuleList([b] * n)",
                f"{name} holds one and the same block L times: all layers share its weights; make a new block for each",
            ),
        ):
            yield Change(
                f"{sentence(says)}.",
                14,
                {id(line.value): expr(template, m=made, b=one, n=number)},
            )
        for by, said in ((" - 1", "one block too few: off by one"), (" + 1", "one block too many: off by one")):
            says = f"{name} holds {said}; there should be {Teller(function, line).tell(number)} of them."
            yield Change(says, 26, {id(number): expr(f"n{by}", n=number)})
        for other in forward.lines():
            if isinstance(other, ast.For) and isinstance(other.iter, ast.Attribute) and other.iter.attr == name:
                loop = expr(f"[self.{name}] * self.n_times")
                says = (
                    "There is one block, run L times: one and the same; there should be L blocks, each with "
                    "weights of its own."
                )
                keep = code("self.n_times = n", n=number)
                yield Change(says, 16, {id(line.value): one, id(other.iter): loop}, after={id(line): keep})


def _made_anew(function: Function, forward: Function) -> Iterator[Change]:
    """A layer without parameters that forward makes in every call."""
    for line in function.lines():
        if (
            not isinstance(line, ast.Assign)
            or not isinstance(line.targets[0], ast.Attribute)
            or called(line.value) != "Dropout"
        ):
            continue
        assert isinstance(line.value, ast.Call)
        name = line.targets[0].attr
        uses = [
            node
            for node in ast.walk(forward.node)
            if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.value, ast.Name)
        ]
        kept = code(f"self.{name}_p = p", p=line.value.args[0])
        anew = {id(node): expr(f"nn.Dropout(self.{name}_p)") for node in uses}
        says = (
            "Dropout stays on in evaluation mode: make the nn.Dropout once, in __init__, where eval() reaches "
            "it. One that is made anew in "
            "every call of forward is in training mode, and so is the function F.dropout when it is not told the mode."
        )
        replace: dict[int, ast.AST | list[ast.stmt]] = {id(line): kept, **anew}
        yield Change(says, 16, replace)
        for template, said in (
            ("nn.Dropout(1 - p)", "1 minus what was given: kept and dropped are exchanged"),
            ("nn.Dropout(p / 2)", "half of what was given"),
        ):
            says = f"The dropout drops {said}."
            yield Change(says, 26, {id(line.value): expr(template, p=line.value.args[0])})
