"""What a text shows without being run: its statements, slips, which nobody means, and what is worth a look."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from .chapters import UNREADABLE, parsed

# As statements of their own: what is only named should be called, and what gives something back changes nothing.
_CALLED = {"__init__", "step", "backward", "zero_grad", "eval", "train"}
_NEW = {
    *("rearrange", "transpose", "permute", "reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand"),
    *("softmax", "log_softmax", "masked_fill", "scatter", "clone", "detach", "contiguous"),
}
# What these give is used up by one loop.
_ONCE = {"zip", "map", "filter", "enumerate", "reversed", "parameters", "named_parameters"}
_WHOLE = {"list", "tuple", "set", "dict", "sum", "sorted", "max", "min", "any", "all"}
_CHANGEABLE = (ast.Dict, ast.List, ast.Set, ast.ListComp, ast.DictComp)
Found = Iterator[tuple[int, str]]


def slips(text: str, names: Sequence[str]) -> dict[str, Any]:
    """Of the definitions of these names: slips and remarks, sentences, and the numbers that are written in.

    Each with its line. And the statements of the whole text.
    """
    body, lines = parsed(text).body, list[str]()
    try:
        lines = stated(body)
    except UNREADABLE:  # it can be read, and not be written down again
        body = []
    whole = [node for node in body if getattr(node, "name", "") in names]
    given = [node for node in body if isinstance(node, ast.Assign)]
    kept = {ast.unparse(node.targets[0]) for node in given if isinstance(node.value, _CHANGEABLE)}
    parts = [part for node in whole for part in ast.walk(node)]
    functions = [part for part in parts if isinstance(part, ast.FunctionDef)]
    # How often something is done is no size.
    counting = [loop for loop in parts if isinstance(loop, ast.For) and _only_counts(loop)]
    turns = {id(part) for loop in counting for part in ast.walk(loop.iter)}
    constants = [part for node in (*whole, *given) for part in ast.walk(node) if isinstance(part, ast.Constant)]
    numbers = [c for c in constants if type(c.value) is int and c.value > 7 and id(c) not in turns]
    return {
        "slips": {says: line for part in parts for line, says in (*_slips(part), *_signs(part, text))},
        "remarks": {says: line for function in functions for line, says in _remarks(function, kept)},
        "numbers": {str(number.value): number.lineno for number in numbers},
        "stated": lines[:2_000],
    }


def _only_counts(loop: ast.For) -> bool:
    """Whether a loop goes so many times through the same, and never asks in which turn it is."""
    used = {part.id for line in loop.body for part in ast.walk(line) if isinstance(part, ast.Name)}
    return isinstance(loop.target, ast.Name) and loop.target.id not in used


def stated(body: Iterable[ast.stmt], within: str = "") -> list[str]:
    """The statements that can be reached, in their order, each with the kinds of those in which it stands.

    By them, word for word, an answer can be laid beside the reference.
    """
    found = []
    for line in body:
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            continue  # a docstring
        head, kind = ast.unparse(line).partition("\n")[0], type(line).__name__
        if isinstance(line, ast.FunctionDef | ast.ClassDef):
            head = kind = " ".join([line.name, *map(ast.unparse, line.decorator_list)])
        found.append(f"{within}{head}")
        for part in ("body", "orelse"):
            found += stated(getattr(line, part, []), f"{within}{kind} {part} > ")
        if isinstance(line, ast.Return | ast.Raise):
            break
    return found


def _remarks(function: ast.FunctionDef, kept: set[str]) -> Found:
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id not in used | {"_"}:
                yield target.lineno, f"{target.id} is set, and never used"
            if isinstance(target, ast.Attribute) and function.name == "forward":
                yield target.lineno, f"{ast.unparse(target)} is set in a call, and still there in the next"
    for name in (name for name in names if name.id in kept):
        yield name.lineno, f"{name.id} outlives a call: what one leaves there, the next one finds"


def _slips(node: ast.AST) -> Found:
    if isinstance(node, ast.For | ast.While):
        last, within = node.body[-1], list(ast.walk(node))
        if isinstance(last, ast.Return) and not any(isinstance(part, ast.Continue) for part in within):
            yield last.lineno, "The return stands inside the loop, and ends it in its first round: it belongs after it."
        if (
            isinstance(node, ast.While)
            and isinstance(node.test, ast.Compare | ast.Constant)
            and not _may_end(node, within)
        ):
            yield node.lineno, f"Nothing in the loop ends it: while {ast.unparse(node.test)} stays as it is."
        if isinstance(node, ast.For):
            yield from _rebound(node, within)
    elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        for before, part in pairwise(node.values):
            if isinstance(before, ast.Compare) and isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield node.lineno, f"or {part.value!r} is always true: a whole comparison stands on each side of or."
    elif isinstance(node, ast.Expr):
        yield from ((node.lineno, says) for says in _without_effect(node.value))
    elif isinstance(node, ast.FunctionDef):
        yield from _of_function(node)
    elif isinstance(node, ast.ClassDef):
        for method in (part for part in node.body if isinstance(part, ast.FunctionDef)):
            yield from _of_method(method)


def _signs(node: ast.AST, text: str) -> Found:
    """What Python reads otherwise than it looks."""
    value = getattr(node, "value", None)
    power = getattr(node.right, "value", None) if isinstance(node, ast.BinOp) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor) and type(power) in (int, float):
        yield node.lineno, f"{ast.unparse(node)} is no power: ** is; ^ compares bits."
    elif isinstance(node, ast.Assign):
        name = ast.unparse(node.targets[0])
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.UAdd):
            # Only the space tells it from a number with a sign.
            if text.split("\n")[value.lineno - 1].encode()[: value.col_offset].endswith(b" ="):
                yield node.lineno, f"=+ gives {name} another value; += adds to it."
        elif isinstance(value, ast.Tuple) and [type(part) for part in value.elts] == [ast.Call] and "self." in name:
            meant = value.col_offset < value.elts[0].col_offset  # in parentheses
            yield from () if meant else [(node.lineno, f"The comma at the end makes {name} a tuple: take it away.")]


def _rebound(loop: ast.For, within: Sequence[ast.AST]) -> Found:
    """A loop that does nothing but give its own names other values, which are lost with each round."""
    own = {part.id for part in ast.walk(loop.target) if isinstance(part, ast.Name)}
    doing = [part for part in within if isinstance(part, ast.stmt) and not isinstance(part, ast.If | ast.For)]
    names = [part.targets[0] if isinstance(part, ast.Assign) else part for part in doing]
    in_place = any(isinstance(part, ast.Attribute) and part.attr.endswith("_") for part in within)
    if not in_place and all(isinstance(name, ast.Name) and name.id in own for name in names):
        yield loop.lineno, f"The loop only gives {ast.unparse(names[0])}, its own name, another value, which is lost."


def _of_function(function: ast.FunctionDef) -> Found:
    parts = list(ast.walk(function))
    stores = [part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    branches = [inner for part in parts if isinstance(part, ast.If | ast.IfExp) for inner in ast.walk(part)]
    passes = [ast.unparse(through) for part in parts if part not in branches and (through := _gone_through(part))]
    for node in (part for part in parts if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)):
        name, maker = ast.unparse(node.targets[0]), getattr(node.value, "func", None)
        once = getattr(maker, "attr", getattr(maker, "id", "")) in _ONCE or isinstance(node.value, ast.GeneratorExp)
        if once and passes.count(name) > 1 and stores.count(name) == 1:
            yield node.lineno, f"{name} is used up by the first loop over it, and empty in the next: make it a list."


def _gone_through(node: ast.AST) -> ast.AST | None:
    """What a loop, or a function that takes all of something, goes through to its end."""
    if isinstance(node, ast.For | ast.comprehension):
        return node.iter
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in _WHOLE and node.args:
        return node.args[0]
    return node.value if isinstance(node, ast.Starred) else None


def _may_end(loop: ast.While, within: Sequence[ast.AST]) -> bool:
    """Whether something in a loop leaves it, or may change what its condition looks at."""
    tested = {part.id for part in ast.walk(loop.test) if isinstance(part, ast.Name)}
    stores = [part for part in within if isinstance(getattr(part, "ctx", None), ast.Store)]
    calls = [part for part in within if isinstance(part, ast.Call) and part not in ast.walk(loop.test)]
    # Whoever is handed something, or owns the method that is called, may be changed by that.
    changed = {part.id for node in (*stores, *calls) for part in ast.walk(node) if isinstance(part, ast.Name)}
    return bool(tested & changed) or any(isinstance(part, ast.Return | ast.Break | ast.Raise) for part in within)


def _without_effect(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Compare) and isinstance(value.ops[0], ast.Eq):
        yield f"{ast.unparse(value)} compares, and changes nothing: = assigns."
    elif isinstance(value, ast.Attribute) and value.attr in _CALLED:
        yield f"{ast.unparse(value)} is only named, and not called: () is missing."
    elif isinstance(value, ast.Call) and (name := getattr(value.func, "attr", getattr(value.func, "id", ""))) in _NEW:
        yield f"What {name} gives back is thrown away; it changes no tensor itself: assign or return it."


def _of_method(method: ast.FunctionDef) -> Found:
    names = [node for node in ast.walk(method) if isinstance(node, ast.Name)]
    given = {argument.arg for argument in method.args.args}
    if "self" not in given and any(name.id == "self" for name in names) and not method.decorator_list:
        yield method.lineno, f"{method.name} has no argument self, which comes first in every method of a class."
    for inner in method.body:
        if method.name == "__init__" and isinstance(inner, ast.FunctionDef) and inner.name == "forward":
            yield (
                inner.lineno,
                "forward stands inside __init__, and is gone when that ends: indent it as far as __init__.",
            )
    kept = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
    for node in ast.walk(method) if method.name == "__init__" else ():
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        own, later = node.targets[0].id, {name.id for name in names if name.lineno > (node.end_lineno or 0)}
        if ast.unparse(node.value).startswith(("nn.", "torch.nn.")) and own not in later | kept:
            yield node.lineno, f"{own} is a name of __init__ alone, and gone when that ends: self.{own} keeps it."
