"""Axes: along which one something runs, which are exchanged, which element or slice is taken, whose size is read."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called
from vitcourse.checking.edits.telling import Teller, sentence
from vitcourse.checking.edits.trees import Change, expr, own_expressions

_ALONG = ("softmax", "logsumexp", "mean", "sum", "chunk", "cat", "argmax", "unsqueeze", "squeeze", "gather")
_PLACES = (-1, -2, 0, 1, 2)


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        for line in function.lines():
            if isinstance(line, ast.Raise):
                continue
            teller = Teller(function, line)
            for node in own_expressions(line):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield from _along(teller, node)
                    yield from _moved_axes(teller, node)
                    yield from _parts(teller, node)
                if isinstance(node, ast.Subscript):
                    yield from _size(teller, node)
                    yield from _element(teller, node)
                    yield from _slices(teller, node)
            yield from _sizes_shifted(teller)
        yield from _all_along(function)
        yield from _blocks(function)


def place_of(node: ast.Call) -> ast.expr | None:
    """The expression that says along which axis a call runs."""
    name = called(node)
    for keyword in node.keywords:
        if keyword.arg == "dim":
            return keyword.value
    if name in ("unsqueeze", "squeeze", "gather") and node.args:
        return node.args[0]
    return None


def _number(node: ast.expr) -> int | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, int) else None


def _constant(value: int) -> ast.expr:
    return expr(str(value))


def _subject(node: ast.Call) -> ast.expr:
    assert isinstance(node.func, ast.Attribute)
    if isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "F"):
        first = node.args[0]
        return first.elts[-1] if isinstance(first, ast.List) else first
    return node.func.value


def _along(teller: Teller, node: ast.Call) -> Iterator[Change]:
    place = place_of(node)
    here = None if place is None else _number(place)
    if place is None or here is None or called(node) not in _ALONG:
        return
    subject = _subject(node)
    meant = teller.along(subject, here)
    for other in _PLACES:
        if other != here:
            verb = "cuts along" if called(node) == "chunk" else "runs over"
            says = (
                f"The {called(node)} ({teller.step}) {verb} {teller.along(subject, other)}, the wrong axis; it "
                f"should be {meant}."
            )
            yield Change(says, 15, {id(place): _constant(other)})
    if called(node) in ("mean", "sum"):
        other_name = "sum" if called(node) == "mean" else "mean"
        assert isinstance(node.func, ast.Attribute)
        new = ast.Call(ast.Attribute(node.func.value, other_name, ast.Load()), node.args, node.keywords)
        what = meant.partition(" (")[0]
        if other_name == "sum":
            size = _count(teller.symbol(subject, here)).partition(",")[0]
            says = (
                f"{sentence(teller.step)} is divided by {size} - 1 (unbiased); it should be divided by {size} (biased)."
            )
            fewer = expr("s / (x.shape[a] - 1)", s=new, x=subject, a=place)
            yield Change(says, 14, {id(node): fewer})
        how = (
            f"not divided by {_count(teller.symbol(subject, here))}"
            if other_name == "sum"
            else "divided by their number"
        )
        says = (
            f"{sentence(teller.step)} is a {other_name} over {what}, summed up and {how}; the {called(node)} of "
            f"{what} is asked for."
        )
        if other_name == "mean":
            says = f"{sentence(teller.step)} is a mean over {what}; their sum is asked for."
        yield Change(says, 14, {id(node): new})
    if called(node) in ("mean", "sum", "argmax", "softmax", "logsumexp"):
        keywords = [keyword for keyword in node.keywords if keyword.arg not in ("dim", "keepdim")]
        bare = ast.Call(node.func, node.args, keywords)
        says = (
            f"No axis is given to the {called(node)} ({teller.step}), so it gives one number for everything, "
            "the whole batch; "
            f"it should run over {meant}, for each row its own."
        )
        yield Change(says, 15, {id(node): bare})
        for places, said in (((-2, -1), "the last two axes together"), ((1, 2), "axes 1 and 2 together")):
            whole = ast.Tuple([_constant(other) for other in places])
            says = f"The {called(node)} ({teller.step}) runs over {said}; it should run over {meant} alone."
            yield Change(says, 30, {id(place): whole})
    for keyword in node.keywords:
        if keyword.arg == "keepdim":
            says = f"{sentence(teller.step)} doesn't keep its axis (keepdim), so it meets the wrong axis afterwards."
            dropped = ast.Call(node.func, node.args, [other for other in node.keywords if other is not keyword])
            yield Change(says, 25, {id(node): dropped})


def _all_along(function: Function) -> Iterator[Change]:
    """All of a function's steps along another axis than the one they share."""
    found: dict[int, list[tuple[Teller, ast.Call, ast.expr]]] = {}
    for line in function.lines():
        for node in own_expressions(line):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and called(node) in _ALONG:
                place = place_of(node)
                here = None if place is None else _number(place)
                if place is not None and here is not None:
                    found.setdefault(here, []).append((Teller(function, line), node, place))
    for here, group in found.items():
        if len(group) < 2:
            continue
        steps = list(dict.fromkeys(teller.step for teller, _, _ in group))
        teller, node, _ = group[0]
        for other in _PLACES:
            if other != here:
                says = (
                    f"{sentence(' and '.join(steps))} run over {teller.along(_subject(node), other)}; "
                    f"they should run over {teller.along(_subject(node), here)}."
                )
                replace: dict[int, ast.AST | list[ast.stmt]] = {id(place): _constant(other) for _, _, place in group}
                yield Change(says, 15, replace)


def _moved_axes(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """Transpose and flatten: other axes, not at all, or a bare reshape in their place."""
    assert isinstance(node.func, ast.Attribute)
    subject = node.func.value
    what = teller.tell(subject)
    if called(node) == "transpose":
        here = {_number(place) for place in node.args}
        says = (
            f"The transpose of {what} is missing ({teller.step}): the two axes are still exchanged, the last two "
            "not swapped back."
        )
        yield Change(f"{says}", 12, {id(node): subject})
        bare = expr("x.reshape(x.transpose(a, b).shape)", x=subject, a=node.args[0], b=node.args[1])
        says = (
            f"A bare reshape (or view) stands where {what} should be transposed ({teller.step}): the shape is "
            "right, but the numbers "
            "stay in memory order, which mixes the two axes."
        )
        yield Change(says, 12, {id(node): bare})
        for a, b in itertools.combinations((-1, -2, -3, 0, 1, 2, 3), 2):
            if {a, b} != here:
                says = f"{sentence(what)} is transposed over other axes than meant, {a} and {b} ({teller.step})."
                other = expr(f"x.transpose({a}, {b})", x=subject)
                yield Change(says, 35, {id(node): other})
    if called(node) in ("transpose", "flatten"):
        for a, b in ((2, 3), (-2, -1), (1, 2)):
            before = expr(f"x.transpose({a}, {b}).{called(node)}()", x=subject)
            assert isinstance(before, ast.Call)
            whole = ast.Call(before.func, node.args, node.keywords)
            along = [teller.along(subject, place) for place in (a, b)]
            says = (
                f"{sentence(what)} is transposed once more ({teller.step}): {along[0]} and {along[1]} are "
                "exchanged, so what should come row by "
                "row comes column by column."
            )
            yield Change(says, 18, {id(node): whole})
    if called(node) == "flatten":
        where = node.args[0]
        for axis in (0, 1, 2, 3):
            if axis != _number(where):
                meant = f"it should be from axis {_number(where)} ({teller.step})"
                says = f"{sentence(what)} is flattened from axis {axis} on; {meant}."
                yield Change(says, 25, {id(where): _constant(axis)})
        says = (
            f"{sentence(what)} is reshaped to the transposed shape and then transposed; flatten keeps each row "
            "together, "
            f"and such a reshape mixes the numbers of different rows ({teller.step})."
        )
        mixed = expr("x.flatten(a).reshape(x.flatten(a).T.shape).T", x=subject, a=where)
        yield Change(says, 18, {id(node): mixed})
        for axes, said in (
            ("0, 2, 3, 1", "(P, P, C), channels last,"),
            ("0, 3, 2, 1", "(P, P, C) with rows and columns exchanged,"),
        ):
            moved = expr(f"x.permute({axes}).flatten(a)", x=subject, a=where)
            says = f"{sentence(what)} is flattened in the order {said} where (C, P, P) is meant ({teller.step})."
            yield Change(says, 18, {id(node): moved})


def _parts(teller: Teller, node: ast.Call) -> Iterator[Change]:
    """chunk: parts taken column by column, or group by group, in place of side by side."""
    if called(node) != "chunk":
        return
    assert isinstance(node.func, ast.Attribute)
    count, what = node.args[0], teller.tell(node.func.value)
    x, dim = node.func.value, place_of(node) or expr("-1")
    strided = expr("x.unflatten(dim, (-1, n)).unbind(-1)", x=x, dim=dim, n=count)
    says = (
        f"The parts of {what} are taken interleaved: they alternate column by column, every "
        f"{teller.tell(count)}rd one; "
        "they lie one after the other: all queries, then all keys, then all values."
        if _number(count) == 3
        else f"The parts of {what} are taken interleaved, column by column; they lie one after the other."
    )
    yield Change(says, 16, {id(node): strided})
    for name, attribute in teller.function.attributes.items():
        if attribute.kind == "number":
            inner = expr(f"[p.flatten(-2) for p in x.unflatten(-1, (self.{name}, n, -1)).unbind(-2)]", x=x, n=count)
            says = (
                "The parts are read group by group: head by head, each with its own queries, keys and values; "
                "they lie one after the "
                "other, all queries, then all keys, then all values."
            )
            yield Change(says, 18, {id(node): inner})


def _size(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """x.shape[i]: another axis of x."""
    if not isinstance(node.value, ast.Attribute) or node.value.attr != "shape":
        return
    here, subject = _number(node.slice), node.value.value
    if here is None:
        return
    for other in (-1, -2, -3, 0, 1, 2, 3):
        symbol = teller.symbol(subject, other)
        if other == here or symbol == teller.symbol(subject, here) != "?":
            continue
        says = (
            f"{sentence(teller.step)} reads the size of axis {other} of {teller.tell(subject)}, "
            f"{_said(teller, subject, other)}; "
            f"it should be axis {here}, {_said(teller, subject, here)}."
        )
        yield Change(says, 18, {id(node.slice): _constant(other)})

    known = {teller.symbol(subject, other) for other in (-1, -2, -3, 0, 1, 2, 3)}
    for name, axes in teller.axes.items():
        for place, symbol in enumerate(axes, start=-len(axes)):
            if symbol in known or symbol in ("…", "1"):
                continue
            known.add(symbol)
            size = expr(f"x.shape[{place}]", x=ast.Name(name, ast.Load()))
            says = (
                f"{sentence(teller.step)} reads the size of axis {place} of {teller.name(name)}, "
                f"{_counted(symbol)}, the wrong axis; "
                f"it should be {_said(teller, subject, here)}."
            )
            yield Change(says, 18, {id(node): size})


def _sizes_shifted(teller: Teller) -> Iterator[Change]:
    """Several sizes of one tensor, each read from the axis beside the right one."""
    reads = [
        node
        for node in own_expressions(teller.line)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
    ]
    if len(reads) < 2:
        return
    for by in (-1, 1, -2):
        replace: dict[int, ast.AST | list[ast.stmt]] = {}
        told = []
        for node in reads:
            here = _number(node.slice)
            assert here is not None
            assert isinstance(node.value, ast.Attribute)
            replace[id(node.slice)] = _constant(here + by)
            told.append((here, here + by, node.value.value))
        meant = " and ".join(f"{_said(teller, subject, here)} (axis {here})" for here, _, subject in told)
        read = " and ".join(f"axis {there}, {_said(teller, subject, there)}" for _, there, subject in told)
        says = f"{sentence(teller.step)} reads the sizes from the wrong axes: {read}, where {meant} are meant."
        yield Change(says, 16, replace)


def _blocks(function: Function) -> Iterator[Change]:
    """Every second column filled: one half and then the other in its place."""
    filled = []
    for line in function.lines():
        target = line.targets[0] if isinstance(line, ast.Assign) else None
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Tuple):
            columns = target.slice.elts[-1]
            if isinstance(columns, ast.Slice) and columns.step is not None:
                filled.append((line, columns, target.value))
    if len(filled) != 2:
        return
    table = filled[0][2]
    halves: dict[int, ast.AST | list[ast.stmt]] = {
        id(filled[0][1]): ast.Slice(None, expr("-(-x.shape[-1] // 2)", x=table), None),
        id(filled[1][1]): ast.Slice(expr("-(-x.shape[-1] // 2)", x=table), None, None),
    }
    first, second = (function.step(line).partition(" in ")[0] for line, _, _ in filled)
    says = (
        f"{sentence(first)} fill one half of the columns and {second} the other half; they should alternate, "
        "interleaved, column by column."
    )
    yield Change(says, 14, halves)


def _count(symbol: str) -> str:
    return "their number" if symbol == "?" else f"{symbol}, their number"


def _said(teller: Teller, subject: ast.expr, place: int) -> str:
    symbol = teller.symbol(subject, place)
    return "the wrong one" if symbol == "?" else _counted(symbol)


def _counted(symbol: str) -> str:
    counts = {
        "Tk": "Tk, the number of keys",
        "Tq": "Tq, the number of queries",
        "T": "T, the number of tokens",
        "C": "C, the channels",
    }
    counts |= {
        "N": "N, the number of patches",
        "B": "B, the number of images",
        "dh": "dh, the width of a head",
        "dv": "dv, the width of a value",
    }
    return counts.get(symbol, symbol)


def _element(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """One element of an axis: another one, or a summary of all."""
    if isinstance(node.value, ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    here = _number(places[-1])
    if (
        here is None
        or not isinstance(node.slice, ast.Tuple)
        or not all(isinstance(place, ast.Slice) for place in places[:-1])
    ):
        return
    axis, what = len(places) - 1, teller.tell(node.value)
    along = teller.along(node.value, axis).partition(" (")[0]
    for other, said in ((-1, "the last"), (1, "the second"), (0, "the first"), (2, "the third")):
        if other != here:
            says = f"{sentence(teller.step)} takes {said} of {along}, number {other}; it should be number {here}."
            yield Change(says, 15, {id(places[-1]): _constant(other)})
    for template, said in (
        ("x.mean(dim=a)", "the mean over all of"),
        ("x.mean(dim=a) * x.size(a)", "the sum over all of"),
        ("x.amax(dim=a)", "the largest over all of"),
        ("x[:, 1:].mean(dim=a)", "the mean, without the first one, of"),
    ):
        summary = expr(template, x=node.value, a=_constant(axis))
        says = f"{sentence(teller.step)} is {said} {along}; it should be number {here} of {what}."
        yield Change(says, 15, {id(node): summary})
    yield Change(f"{sentence(teller.step)} is left out: all of {along} go on.", 18, {id(node): node.value})
    kept = expr(f"x[:, {here}:{here + 1}]", x=node.value) if here >= 0 else node.value
    says = f"{sentence(teller.step)} keeps the axis of {along}, with size 1: an index is meant, not a slice."
    yield Change(says, 30, {id(node): kept})


def _slices(teller: Teller, node: ast.Subscript) -> Iterator[Change]:
    """A slice: off by one, from the other end, not at all."""
    places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    what = teller.tell(node.value)
    for place in places:
        if not isinstance(place, ast.Slice) or (place.lower is None and place.upper is None and place.step is None):
            continue
        lower, upper = _end(place.lower, 0), _end(place.upper, None)
        options: list[tuple[str, str]] = []
        if place.step is not None:
            by = ast.unparse(place.step)
            options += [(f"{1 - (lower or 0)}::{by}", "the other columns: even and odd are exchanged")]
            options += [(f"{lower}::1", "every column, not every second")]
        elif upper is None and isinstance(lower, int):
            options += [
                (
                    f":-{lower}",
                    "all but the last: the last is lost, and the first is still among them: off by one "
                    f"({teller.step})",
                )
            ]
            options += [(":", "all: the first is still among them, and should be without it")]
            options += [(f"{lower + 1}:", "from one later on: off by one"), (f"-{lower}:", "the last only")]
        elif lower in (0, None) and isinstance(upper, int):
            options += [(f"-{upper}:", "the last, not the first")]
            options += [
                (":", "all"),
                (f":{upper + 1}", "one more: off by one"),
                (f"{upper}:{upper + 1}", "the second, not the first"),
            ]
        for text, said in options:
            new = ast.parse(f"x[{text}]", mode="eval").body
            assert isinstance(new, ast.Subscript)
            says = f"The slice of {what} ({teller.step}) takes {said}."
            yield Change(says, 22, {id(place): new.slice})
        if place.upper is not None and _end(place.upper, None) is None:
            for by in ("+ 1", "- 1"):
                upper_off = expr(f"u {by}", u=place.upper)
                says = (
                    f"The slice of {what} ({teller.step}) ends one too {'late' if by[0] == '+' else 'early'}: off "
                    "by one."
                )
                yield Change(says, 30, {id(place.upper): upper_off})
            open_end = ast.Slice(place.lower, None, place.step)
            says = f"The slice of {what} ({teller.step}) has no end: it is not cut off."
            yield Change(says, 25, {id(place): open_end})


def _end(node: ast.expr | None, default: int | None) -> int | None:
    return default if node is None else _number(node)
