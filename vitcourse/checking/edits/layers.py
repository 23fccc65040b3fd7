"""Layers and parameters: how __init__ makes them, what it keeps them as, how they start."""

import ast
import itertools
from collections.abc import Iterator

from vitcourse.checking.edits.reference import Function, called, siblings
from vitcourse.checking.edits.telling import Teller
from vitcourse.checking.edits.trees import Change, code, expr
from vitcourse.checking.edits.values import FIXED

Kept = tuple[ast.stmt, str, ast.expr, str]


def changes(own: list[Function]) -> Iterator[Change]:
    """The changes of all classes."""
    for function in own:
        if function.name.endswith("__init__"):
            for line in function.lines():
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Attribute):
                    yield from _layer(Teller(function, line), line.targets[0].attr, line.value)
            kept = [(line, *what) for line in function.lines() if (what := kept_as(line))]
            yield from _kinds(function, kept)
            yield from _starts(function, [one for one in kept if one[3] == "parameter"])


def kept_as(line: ast.stmt) -> tuple[str, ast.expr, str] | None:
    """The name, tensor and kind of a parameter or buffer that a statement makes."""
    value = line.value if isinstance(line, ast.Assign | ast.Expr) else None
    if not isinstance(value, ast.Call):
        return None
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Attribute) and called(value) == "Parameter":
        return line.targets[0].attr, value.args[0], "parameter"
    if called(value) == "register_buffer":
        return ast.literal_eval(value.args[0]), value.args[1], "buffer"
    return None


def _kinds(function: Function, kept: list[Kept]) -> Iterator[Change]:
    """Plain tensor, buffer, parameter: one for another, at one place or at two."""

    def others(line: ast.stmt, name: str, tensor: ast.expr, kind: str) -> Iterator[tuple[str, str, list[ast.stmt]]]:
        for template, says, other in siblings()["kept"][kind]:
            yield other, says.format(name), code(template.format(name), t=tensor)

    for one in kept:
        for _, says, new in others(*one):
            yield Change(Teller(function, one[0]).says(says), 12, {id(one[0]): new})
    for one, other in itertools.combinations(kept, 2):
        for (kind, says, new), (same_kind, too, also) in itertools.product(others(*one), others(*other)):
            if kind == same_kind:
                (name, _, told), (second, _, alike) = says.partition(" "), too.partition(" ")
                both = f"{name} and {second}: each {told}." if told == alike else f"{says}; and {too}."
                yield Change(both, 14, {id(one[0]): new, id(other[0]): also})


def _starts(function: Function, kept: list[Kept]) -> Iterator[Change]:
    """The values with which parameters start, one of them or all."""
    for group in [*([one] for one in kept), *([kept] if len(kept) > 1 else [])]:
        (line, _, tensor, _), names = group[0], " and ".join(name for _, name, _, _ in group)
        makers = {called(node) for node in ast.walk(tensor)}
        meant = "noise of deviation 0.02 is asked for"
        if "randn" not in makers:
            meant = f"they should start as {'ones' if 'ones' in makers else 'zeros'}"
        for template, said in siblings()["starts"]:
            new = {id(value): expr(template, t=value) for _, _, value, _ in group}
            yield Teller(function, line).change("start", new, names=names, said=said, meant=meant)


def _layer(teller: Teller, name: str, value: ast.expr) -> Iterator[Change]:
    """self.name = value: a layer with other settings, or a number with a constant in its place."""
    if isinstance(value, ast.Name):
        yield from _kept_number(teller, value)
    if called(value) not in ("Linear", "Conv2d", "ModuleList") or not isinstance(value, ast.Call):
        return
    for setting, phrase in siblings()["settings"].get(called(value), ()):
        key, _, given = setting.partition("=")
        rest = [keyword for keyword in value.keywords if keyword.arg != key]
        parts = {keyword.arg or "": keyword.value for keyword in value.keywords}
        new = ast.Call(value.func, value.args, [*rest, ast.keyword(key, expr(given, **parts))])
        yield teller.change(phrase, {id(value): new}, name=name, setting=setting)
    if isinstance(value.args[0], ast.GeneratorExp) and isinstance(value.args[0].generators[0].iter, ast.Call):
        number = value.args[0].generators[0].iter.args[0]
        for by, said in (("n - 1", "one block too few"), ("n + 1", "one block too many")):
            yield teller.change("number of blocks", {id(number): expr(by, n=number)}, name=name, said=said, n=number)


def _kept_number(teller: Teller, value: ast.Name) -> Iterator[Change]:
    default = teller.function.defaults.get(value.id)
    for constant in [ast.unparse(default)] if default is not None else map(str, FIXED):
        phrase = "one only" if value.id.startswith("n_") and constant == "1" else "kept as a constant"
        told = {"name": value.id, "one": value.id[2:-1], "value": constant}
        yield teller.change(phrase, {id(value): expr(constant)}, told)
