"""Statements: left out, done twice, moved, done to an earlier value."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, code


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        if function.name.endswith("__init__"):
            continue
        for body in bodies(function.node.body):
            for line in body:
                yield from _left_out(function, line)
                yield from _moved(function, body, line)
            yield from _parts_exchanged(function, body)
        yield from _all_left_out(function)
        yield from _overwritten(function)
        yield from _widened(function)
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
    if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
        return None
    if not isinstance(line.value, ast.Call | ast.BinOp):
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
    place = next(i for i, other in enumerate(lines) if other is line)
    return function.axes[id(lines[place + 1])] if place + 1 < len(lines) else {}


def _left_out(function: Function, line: ast.stmt) -> Iterator[Change]:
    step = function.step(line)
    whole = f"{sentence(step)} is left out"
    never = f"{sentence(step)} is never applied: it is left out, or its result is thrown away."
    if isinstance(line, ast.Assign) and target(line):
        passed = source(function, line)
        if target(line) in function.scope[id(line)]:
            yield Change(never, 10, {id(line): []})
            lost = f"The result of {step} is thrown away: what it gives is not assigned, and so has no effect."
            yield Change(lost, 12, {id(line): [ast.Expr(line.value)]})
        elif passed is not None:
            yield Change(never, 10, {id(line.value): passed})
    elif isinstance(line, ast.Expr):
        says = f"{whole}: it is never done."
        if isinstance(line.value, ast.Call) and isinstance(line.value.func, ast.Attribute):
            says = (
                f"{sentence(step)} plays no part: it is left out, or the order of the calls is wrong, so it comes "
                "too early, or is undone."
            )
        yield Change(says, 10, {id(line): []})
    elif isinstance(line, ast.For):
        yield Change(never, 10, {id(line): []})
    elif isinstance(line, ast.With):
        yield Change(f"{whole}.", 12, {id(line): line.body})
        what = " and ".join(function.step(inner) for inner in line.body)
        says = f"{sentence(what)}: left out. Nothing of this is done, so what was made keeps its own random values."
        if not any(isinstance(inner, ast.Assign) for inner in line.body):
            yield Change(says, 12, {id(line): []})
    elif isinstance(line, ast.If) and not line.orelse:
        if isinstance(line.body[0], ast.Raise):
            yield Change(f"{whole}, and so no ValueError is raised.", 12, {id(line): []})
        else:
            yield Change(f"{whole}.", 12, {id(line): []})
    elif isinstance(line, ast.Return):
        says = "The return is missing, so None is returned."
        yield Change(says, 12, {id(line): []})


def _all_left_out(function: Function) -> Iterator[Change]:
    """Every use of one layer, or of the layers of one kind."""
    uses: dict[str, list[ast.Assign]] = {}
    for line in function.lines():
        if isinstance(line, ast.Assign) and source(function, line) is not None:
            maker = function.attributes[called(line.value)].maker if called(line.value) in function.attributes else ""
            uses.setdefault(maker or called(line.value), []).append(line)
    for lines in uses.values():
        if len(lines) < 2:
            continue
        names = list(dict.fromkeys(called(line.value) for line in lines))
        who = " and ".join(names)
        says = (
            f"{who} {'are' if len(names) > 1 else 'is'} never applied: neither "
            f"{' nor '.join(map(function.step, lines))}."
        )
        drop = {id(line.value): source(function, line) for line in lines}
        yield Change(says, 15, {key: node for key, node in drop.items() if node is not None})


def _overwritten(function: Function) -> Iterator[Change]:
    """A step whose result takes the place of what it was made of, which is needed again."""
    for line in function.lines():
        passed = source(function, line)
        if passed is None or target(line) == passed.id or passed.id in ("labels",):
            continue
        if after(function, line).get(target(line)) != function.axes[id(line)].get(passed.id):
            continue
        what = Teller(function, line).name(passed.id)
        says = (
            f"{sentence(function.step(line))} is done to {what} itself: what is added later is added to the result, "
            f"and not to {what} from before."
        )
        yield Change(says, 20, after={id(line): code(f"{passed.id} = {target(line)}")})


def _widened(function: Function) -> Iterator[Change]:
    """What stands after a with, inside it."""
    for body in bodies(function.node.body):
        for place, line in enumerate(body):
            if not isinstance(line, ast.With):
                continue
            for count in range(1, len(body) - place - 1):
                moved = body[place + 1 : place + 1 + count]
                gone: dict[int, ast.AST | list[ast.stmt]] = {id(other): [] for other in moved}
                says = (
                    f"{sentence(function.step(line))} goes on too long: {' and '.join(map(function.step, moved))} "
                    "stand inside it too."
                )
                yield Change(says, 24, gone, after={id(line.body[-1]): moved})


def _moved(function: Function, body: list[ast.stmt], line: ast.stmt) -> Iterator[Change]:
    """A statement somewhere else, or there too."""
    if isinstance(line, ast.Expr):
        yield from _call_moved(function, body, line)
        return
    passed = source(function, line)
    if isinstance(line, ast.Assign) and function.kinds.get(called(line.value)) == "nn.Module":
        says = f"{sentence(function.step(line))} is done twice: the model runs two times, in a second forward pass."
        yield Change(says, 25, after={id(line): [line]})
    if passed is None or function.axes[id(line)].get(passed.id) != after(function, line).get(target(line)):
        if passed is not None and target(line) in function.scope[id(line)]:
            yield from _parts_of_chain(function, body, line)
        return
    assert isinstance(line, ast.Assign)
    step, noun = function.step(line), called(line.value) or "one"
    gone: dict[int, ast.AST | list[ast.stmt]] = (
        {id(line): []} if target(line) == passed.id else {id(line.value): passed}
    )
    lines = function.lines()
    own = lines.index(line)
    for place, other in enumerate(lines):
        name = target(other)
        here_axes = after(function, other).get(name)
        fits = here_axes == function.axes[id(line)][passed.id]
        shape_free = _any_shape(function, line)
        if not name or here_axes is None or not (fits or shape_free) or not _known(function, line, other):
            continue
        fits = fits or isinstance(line.value, ast.BinOp)
        again = Change("", replace={id(passed): ast.Name(name, ast.Load())}).applied(line.value)
        here: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], again)]
        inside = not any(other is neighbour for neighbour in body)
        where = f"after {function.step(other)}"
        if inside:
            where = f"inside the loop, after {function.step(other)}, each time anew"
        elif place + 1 < len(lines):
            where += f", before {function.step(lines[place + 1])}"
        if fits and other is not line and not (place == own - 1 and not inside):
            belongs = (
                f"before {function.step(lines[own + 1])}" if place > own else f"after {function.step(lines[own - 1])}"
            )
            says = f"{sentence(step)} stands {where}; it belongs {belongs}."
            if inside:
                says = f"{sentence(step)} stands {where}; it belongs after the loop, once."
            yield Change(says, 20, dict(gone), after={id(other): here})
        once = "It stands there twice" if other is line or place == own - 1 else "Once is enough"
        says = f"A second {noun} stands {where}. {once}; only {step} is asked for."
        yield Change(says, 20 if shape_free else 25, after={id(other): here})


def _any_shape(function: Function, line: ast.Assign) -> bool:
    """Whether what a statement calls takes a tensor of any shape, as dropout does."""
    name = called(line.value)
    maker = function.attributes[name].maker if name in function.attributes else name
    return maker == "Dropout" or isinstance(line.value, ast.BinOp)


def _known(function: Function, line: ast.Assign, other: ast.stmt) -> bool:
    """Whether all that a statement reads is known after another one."""
    lines = function.lines()
    place = next(i for i, statement in enumerate(lines) if statement is other)
    scope = {
        *function.scope[id(other)],
        target(other),
        *(function.scope[id(lines[place + 1])] if place + 1 < len(lines) else ()),
    }
    names = {node.id for node in ast.walk(line.value) if isinstance(node, ast.Name)}
    return names & set(function.kinds) <= scope | {"self"}


def _call_moved(function: Function, body: list[ast.stmt], line: ast.Expr) -> Iterator[Change]:
    """A call for its effect alone: the order of such calls is what people get wrong."""
    step = function.step(line)
    own = body.index(line)
    for place, other in enumerate(body):
        if other is line:
            yield Change(f"{sentence(step)} comes twice.", 45, after={id(line): [line]})
            continue
        if place == own - 1 or isinstance(other, ast.Return):
            continue
        if place > own:
            says = (
                f"{sentence(step)} comes too late, after {function.step(other)}; it belongs before it: the order "
                "is wrong."
            )
            yield Change(says, 20, {id(line): []}, after={id(other): [line]})
        else:
            says = (
                f"{sentence(step)} comes too early, before {function.step(body[place + 1])}; it belongs after it: "
                "the order is wrong."
            )
            yield Change(says, 20, {id(line): []}, after={id(other): [line]})
    if own:
        says = (
            f"{sentence(step)} comes too early, before {function.step(body[0])}; it belongs after it: the order is "
            "wrong."
        )
        yield Change(says, 20, {id(line): []}, before={id(body[0]): [line]})


def _parts_of_chain(function: Function, body: list[ast.stmt], line: ast.stmt) -> Iterator[Change]:
    """Two steps of a chain, each done to the result of the one before, in the other order."""
    place = body.index(line)
    if place + 1 < len(body) and target(body[place + 1]) == target(line):
        one, other = function.step(line), function.step(body[place + 1])
        says = f"{sentence(other)} comes before {one}; it belongs after it."
        yield Change(says, 25, {id(line): [body[place + 1]], id(body[place + 1]): [line]})


def _parts_exchanged(function: Function, body: list[ast.stmt]) -> Iterator[Change]:
    """Two parts of the outline in the other order."""
    parts: dict[str, list[ast.stmt]] = {}
    for line in body:
        parts.setdefault(function.steps[id(line)].part, []).append(line)
    names = list(parts)
    for one, other in itertools.pairwise(names):
        if len(parts[one]) < 2 or len(parts[other]) < 2:
            continue
        gone: dict[int, ast.AST | list[ast.stmt]] = {id(line): [] for line in parts[one] + parts[other]}
        gone[id(parts[one][0])] = parts[other] + parts[one]
        says = f"{sentence(other)} comes before {one}; the two are exchanged."
        yield Change(says, 12, gone)
        for line in parts[other]:
            yield from _other_part(function, line, parts[one])


def _other_part(function: Function, line: ast.stmt, part: list[ast.stmt]) -> Iterator[Change]:
    """A layer of one part in place of another's, with what follows it there."""
    passed = source(function, line)
    if passed is None:
        return
    for place, other in enumerate(part):
        if not isinstance(line, ast.Assign) or not isinstance(other, ast.Assign) or source(function, other) is None:
            continue
        if called(other.value) == called(line.value):
            continue
        chain = [other for other in part[place:] if target(other) == target(line)]
        for length in range(1, len(chain) + 1):
            here: list[ast.stmt] = []
            value: ast.expr = passed
            for link in chain[:length]:
                inner = source(function, link)
                assert isinstance(link, ast.Assign)
                if inner is not None:
                    value = Change("", replace={id(inner): value}).applied(link.value)
            here = [ast.Assign([ast.Name(target(line), ast.Store())], value)]
            says = (
                f"{sentence(function.step(line))} is never applied: {function.step(other)} comes once more in "
                "its place, "
                f"so {called(other.value)} runs twice and {called(line.value)} not at all."
            )
            yield Change(says, 22, {id(line): here})


def _earlier_values(function: Function) -> Iterator[Change]:
    """A statement that reads what a name was before the last step or steps."""
    lines = function.lines()
    for place, line in enumerate(lines):
        for node in ast.walk(line):
            if (
                not isinstance(node, ast.Name)
                or not isinstance(node.ctx, ast.Load)
                or node.id not in function.axes[id(line)]
            ):
                continue
            if isinstance(line, ast.For | ast.With | ast.If):
                continue
            makers = [other for other in lines[:place] if target(other) == node.id]
            versions: list[ast.stmt | None] = [*([None] if node.id in function.arguments else []), *makers]
            for version in versions[:-1]:
                yield from _reads(function, line, node, version, makers[-1])


def _reads(
    function: Function, line: ast.stmt, node: ast.Name, version: ast.stmt | None, last: ast.stmt
) -> Iterator[Change]:
    teller = Teller(function, line)
    then = function.axes[id(function.node.body[0])] if version is None else after(function, version)
    if then.get(node.id) != teller.axes[node.id]:
        return
    keep = code("kept = value", value=ast.Name(node.id, ast.Load()))
    older = "the input" if version is None else f"the result of {function.step(version)}"
    says = (
        f"{sentence(teller.step)} starts from {older}, and not from the result of {function.step(last)}, which is "
        "lost there."
    )
    use = ast.Name("kept", ast.Load())
    if version is None:
        yield Change(says, 22, {id(node): use}, before={id(function.node.body[0]): keep})
    else:
        yield Change(says, 22, {id(node): use}, after={id(version): keep})
