"""What the line that failed has asked: arguments in their turn, what they are called, patterns, names for parts."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from traceback import walk_tb
from typing import Any

from torch import Tensor, nn

from vitcourse.trace.names import arguments_of, parts
from vitcourse.trace.source import names_in

Operands = list[tuple[str, Tensor]]
_NAMED = (
    "input tensor query input1 x1 mat1 batch1 key input2 x2 mat2 batch2 vec value other target index mask weight bias"
)
_TURNS = {word: turn for turn, word in enumerate(_NAMED.split())}


def in_turn(kwargs: Mapping[str, Any]) -> list[Any]:
    """What was passed by name, as torch's functions take it in turn, whatever the order in which it was named."""
    return [kwargs[word] for word in sorted(kwargs, key=lambda word: _TURNS.get(word, len(_TURNS)))]


def pattern_in(error: BaseException) -> tuple[Tensor, str, dict[str, int]] | None:
    """The tensor, the pattern and the lengths that einops was given in a line."""
    for frame, _ in walk_tb(error.__traceback__):
        inside = frame.f_locals
        tensors = [value for value in inside.values() if isinstance(value, Tensor)]
        if frame.f_globals.get("__name__", "").startswith("einops") and len(tensors) == 1:
            told = {"pattern": "", "axes_lengths": {}, **getattr(inside.get("self"), "__dict__", {}), **inside}
            return tensors[0], told["pattern"], told["axes_lengths"]
    return None


_NAMES = re.compile(r"[(\[]?[\w., ]+[)\]]?\s*=\s*(?P<value>[^=].*)")


def given(error: BaseException, layer: nn.Module) -> dict[str, Tensor]:
    """What was given to a module that failed, by the names of its forward; nothing where its call isn't found."""
    for frame, _ in walk_tb(error.__traceback__):
        inside = frame.f_locals
        if frame.f_code.co_name == "_call_impl" and inside.get("self") is layer:
            args, kwargs = inside["args"], inside["kwargs"]
            paths = arguments_of(layer.forward, args, kwargs)
            leaves = map(parts, (*args, *kwargs.values()), paths)
            return {path: value for path, value in chain(*leaves) if isinstance(value, Tensor)}
    return {}


def each_by_its_name(operands: Operands, text: str, local: Mapping[str, Any]) -> Operands:
    """Of two names of one tensor, `query @ key`, each in its turn."""
    turns: dict[int, list[str]] = {}
    for word in names_in(text):
        turns.setdefault(id(local.get(word)), []).append(word)
    turn = [turns.get(id(tensor), [word]) for word, tensor in operands]
    return [(names.pop(0) if names[1:] else names[0], x) for names, (_, x) in zip(turn, operands, strict=True)]


def made_for_names(text: str, local: Mapping[str, Any], nodes: Sequence[Any]) -> tuple[str, Any, int | None]:
    """Of `q, k = x.chunk(3)`: the right side, the tensor that it is or the step that made it, or how many it gives."""
    found = _NAMES.fullmatch(text)
    value = found["value"] if found is not None else text
    held = local.get(value)
    steps = [node for node in nodes if node.place.text == value and node.results]
    results = steps[-1].results if steps else ()
    if isinstance(held, Tensor):
        return value, held, None
    if results and any(node.place.text == text and node.op == "iter" for node in nodes):
        return value, results[0], None
    if isinstance(held, tuple | list | dict):
        return value, None, len(held)
    # What functions of torch give is tensors alone; what else a module or other code gives is not known.
    sure = len(results) > 1 and steps[-1].module is None and not any(node.shown for node in steps[-1].inside())
    return value, None, len(results) if sure else None
