"""Whole functions: an argument that isn't used, arguments or results exchanged, what comes back."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change, Replace, code
from vitcourse.checking.edits.values import FIXED

_GRID = "tuple[int, int]"


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all functions."""
    for function in own:
        start = _Start(function)
        for argument in function.arguments:
            yield from _not_used(start, argument)
        yield from _arguments_exchanged(start)
        for line in function.lines():
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Tuple):
                yield from _unpacked(Teller(function, line), line.targets[0])
            if isinstance(line, ast.Return) and line.value is not None:
                yield from _returned(Teller(function, line), line.value)
        if function.node.decorator_list and isinstance(function.definition, ast.FunctionDef):
            fields = {**dict(ast.iter_fields(function.node)), "decorator_list": []}
            yield start.teller.change("no decorator", {id(function.node): ast.FunctionDef(**fields)})


class _Start:
    """Where a function begins: what is done there is done to its arguments."""

    def __init__(self, function: Function) -> None:
        self.function, self.first = function, function.node.body[0]
        self.teller = Teller(function, self.first)

    def change(
        self, phrase: str, template: str, also: Replace | None = None, rank: int = 0, **parts: ast.expr | str
    ) -> Change:
        """A change that runs a statement before all others."""
        trees = {name: part for name, part in parts.items() if isinstance(part, ast.expr)}
        before = {id(self.first): code(template, **trees)}
        return self.teller.change(phrase, also or {}, told=parts, before=before, rank=rank)

    def said(self, argument: str) -> str:
        """An argument as one says it."""
        return self.function.names.get(argument, argument)


def _not_used(start: _Start, argument: str) -> Iterator[Change]:
    kind, default = start.function.kinds.get(argument, ""), start.function.defaults.get(argument)
    usual = ast.unparse(default) if default is not None else ""
    values = [usual] if default is not None else []
    if kind == "number":
        floating = isinstance(getattr(default, "value", 0), float)
        values += ["0.1", "0.5", "0.2"] if floating else map(str, FIXED)
    for value in dict.fromkeys(values):
        rank = 14 if default is not None and value == usual else 0
        yield start.change("always a constant", f"{argument} = {value}", rank=rank, name=argument, value=value)
    if default is not None and kind not in ("number", "tensor", "str"):
        for value in ["torch.bfloat16"] if "dtype" in argument else ["True", "False"]:
            if value != usual:
                yield start.change("taken as", f"{argument} = {value}", name=argument, value=value)
    if kind == _GRID:
        alike = [name for name in start.function.arguments if start.function.kinds.get(name) == kind]
        for whole in ("round", "int"):
            square = "".join(f"{name} = ({whole}(({name}[0] * {name}[1]) ** 0.5),) * 2\n" for name in alike)
            yield start.change("taken as square", square, name=argument)
            yield start.change("taken as square", square, _inferred(start.function), name=argument)
    if kind == "tensor":
        tensor, who = ast.Name(argument, ast.Load()), start.said(argument)
        for template, said in siblings()["instead"]:
            yield start.change("in its place", f"{argument} = {template}", a=tensor, said=said, who=who, name=argument)
    if kind.endswith("Optimizer"):
        parameters = f"[p for g in {argument}.param_groups for p in g['params']]"
        for maker, lr in itertools.product(("Adam", "AdamW", "SGD"), siblings()["learning_rates"]):
            made = f"torch.optim.{maker}({parameters}{lr and f', lr={lr}'})"
            yield start.change("own optimizer", f"{argument} = {made}", maker=maker)


def _inferred(function: Function) -> dict[int, ast.Call]:
    """The calls of einops with one size fewer: the last one, which follows from the others."""
    calls = [node for node in ast.walk(function.node) if isinstance(node, ast.Call) and called(node) == "rearrange"]
    return {id(node): ast.Call(node.func, node.args, node.keywords[:1]) for node in calls if len(node.keywords) == 2}


def _arguments_exchanged(start: _Start) -> Iterator[Change]:
    for one, other in itertools.combinations(start.function.arguments, 2):
        kind = start.function.kinds.get(one, "")
        if kind != start.function.kinds.get(other, "") or kind not in ("number", "tensor", _GRID):
            continue
        a, b = start.said(one), start.said(other)
        yield start.change("exchanged from the start", f"{one}, {other} = {other}, {one}", one=a, other=b)


def _unpacked(teller: Teller, target: ast.Tuple) -> Iterator[Change]:
    """Several names at once: in another order, or all the same."""
    names = [name for name in target.elts if isinstance(name, ast.Name)]
    said, line = [teller.name(name.id) for name in names], teller.line
    if len(names) != len(target.elts):
        return
    for order in itertools.permutations(range(len(names))):
        off = [place for place, other in enumerate(order) if place != other]
        if "_" in (names[place].id for place in off):
            continue
        moved = ", ".join(said[place] for place in order)
        new = {id(target): ast.Tuple([names[place] for place in order], ast.Store())}
        if len(off) == 2:
            grid = "; grid is (rows, columns)" if {"gh", "gw"} <= set(said) else ""
            told = {"one": said[off[0]], "other": said[off[1]], "grid": grid}
            yield teller.change("two exchanged", new, told, meant=", ".join(said), moved=moved)
        elif off:
            yield teller.change("all exchanged", new, rank=10 + len(off), meant=", ".join(said), moved=moved)
    for place, name in enumerate(names):
        others = [other for other in names if other is not name and "_" not in (name.id, other.id)]
        if not others:
            continue
        alike = {id(line): code("".join(f"{other.id} = {name.id}\n" for other in others))}
        told = {"one": said[place], "part": ("first", "second", "third", "last")[place]}
        if len(names) == 2:
            yield teller.change("taken as equal", told=told, after=alike, lost=said[1 - place])
            continue
        rest = " and ".join(teller.name(other.id) for other in others if other.id != name.id)
        yield teller.change("all the same part", told=told, after=alike, others=rest)


def _returned(teller: Teller, value: ast.expr) -> Iterator[Change]:
    pair = value.body if isinstance(value, ast.IfExp) else value
    parts = pair.elts if isinstance(pair, ast.Tuple) else [pair]
    if len(parts) == 2:
        a, b = parts
        yield teller.change("wrong order", {id(pair): ast.Tuple([b, a], ast.Load())}, a=a, b=b)
        for part, lost in ((a, b), (b, a)):
            yield teller.change("one alone", {id(pair): part}, part=part, lost=lost, a=a, b=b)
        yield teller.change("list for a pair", {id(pair): ast.List(parts, ast.Load())})
    for name in (name for name in teller.function.scope[id(teller.line)] if name in teller.axes):
        other = ast.Name(name, ast.Load())
        for part in parts:
            if isinstance(part, ast.Name) and teller.name(name) != teller.name(part.id):
                yield teller.change("another returned", {id(part): other}, other=other, part=part)
        if not isinstance(value, ast.Tuple):
            yield teller.change("pair for one", {id(value): ast.Tuple([value, other], ast.Load())}, other=other)
