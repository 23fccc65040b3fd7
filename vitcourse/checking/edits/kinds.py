"""Values of a known kind, and what is put round them or in their place: the rows of siblings.toml."""

import ast
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, table, target
from vitcourse.checking.edits.rewriting import rewritten
from vitcourse.checking.edits.statements import after
from vitcourse.checking.edits.telling import Teller, expressions, reads
from vitcourse.checking.edits.trees import Change
from vitcourse.checking.edits.values import is_number

# Where values stand, these, their kind, and what is said of them.
Place = tuple[Teller, list[ast.expr], str, dict[str, ast.expr | str]]

_ALONG = ("softmax", "logsumexp", "mean", "sum", "chunk", "cat", "argmax", "unsqueeze", "squeeze", "gather")


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        inside = [] if function.name.endswith("__init__") else [*_made(function), *_given(function), *_axes(function)]
        for teller, nodes, kind, told in (*_read(function), *inside):
            found = [(teller, node, {"x": node}) for node in nodes]
            for template, says, rank in table("siblings")["kinds"].get(kind, ()) if nodes else ():
                yield from rewritten(found, template, rank, says, **told)


def _read(function: Function) -> Iterator[Place]:
    """What a statement reads: a name, what the module holds, what it loops over."""
    within = function.name.endswith("__init__")
    for teller, node in expressions(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in function.kinds:
            yield teller, [node], function.kinds[node.id], {"x": teller.name(node.id)}
        if isinstance(node, ast.Attribute) and node.attr in function.attributes and not within:
            yield teller, [node], function.attributes[node.attr], {"x": node.attr}
        if isinstance(teller.line, ast.For) and node is teller.line.iter:
            yield teller, [node], "loop", {}


def _made(function: Function) -> Iterator[Place]:
    """What a statement gives to a name, or gives back."""
    for line in function.lines():
        teller, name = Teller(function, line), target(line)
        if isinstance(line, ast.Assign) and name:
            kind = "tensor made" if name in after(function, line) else "number made"
            yield teller, [line.value], kind, {"x": teller.name(name)}
        if isinstance(line, ast.Return) and line.value is not None:
            whole = line.value
            ways = [whole.body, whole.orelse] if isinstance(whole, ast.IfExp) else [whole]
            for part in (part for way in ways for part in (way.elts if isinstance(way, ast.Tuple) else [way])):
                number = is_number(teller, part) or called(part) == "float"
                if not isinstance(part, ast.Name | ast.Constant):
                    yield teller, [part], "number made" if number else "tensor made", {"x": "what is returned"}


def _given(function: Function) -> Iterator[Place]:
    """A tensor that is given, wherever it is read."""
    first = Teller(function, function.lines()[0])
    for name in (name for name in function.arguments if len(first.axes.get(name, ())) > 1):
        yield first, reads(function, name), "tensor made", {"x": first.name(name), "step": "at the start"}


def _axes(function: Function) -> Iterator[Place]:
    """The number of an axis along which a call runs; and all that are the same."""
    alike: dict[int, list[tuple[Teller, ast.expr, ast.expr]]] = {}
    for teller, node in expressions(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and called(node) in _ALONG:
            placed = node.args[: called(node) in ("unsqueeze", "squeeze", "gather")]
            first = node.args[0] if node.args else node
            torchs = ast.unparse(node.func.value) == "torch"
            subject = node.func.value if not torchs else first.elts[-1] if isinstance(first, ast.List) else first
            for place in [*placed, *(keyword.value for keyword in node.keywords if keyword.arg == "dim")]:
                if (text := ast.unparse(place)).removeprefix("-").isdecimal():
                    alike.setdefault(int(text), []).append((teller, place, subject))
    for number, calls in alike.items():
        for group in [*([one] for one in calls), calls]:
            teller, _, subject = group[0]
            steps = " and ".join(dict.fromkeys(one.step for one, *_ in group))
            meant = teller.along(subject, number)
            yield teller, [place for _, place, _ in group], "axis", {"x": subject, "meant": meant, "step": steps}
