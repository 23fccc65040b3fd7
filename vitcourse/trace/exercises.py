"""The traces of the course's exercises, run on the small examples in examples.toml."""

import importlib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import Exercise, exercise, exercises
from vitcourse.errors import RequestError
from vitcourse.trace.described import build, built
from vitcourse.trace.expressions import worth
from vitcourse.trace.tracing import Trace, failed, trace


@cache
def examples() -> dict[str, Any]:
    """How each exercise is called, by the name of what it builds."""
    return tomllib.loads(Path(__file__).with_name("examples.toml").read_text(encoding="utf-8"))


def trace_exercise(
    id: str, code: str | Path = "chapters", sizes: Mapping[str, int] | None = None, depth: int | None = None
) -> list[Trace]:
    """The trace of everything that an exercise builds, in a set of chapters, on its example.

    `sizes` puts other sizes in place of the example's. What the code raises is in the trace.
    Raises RequestError when the exercise isn't there, has no shapes to trace, or can't be imported.
    """
    found = exercise(id)
    traceable = [name for name in found.names if name in examples()]
    if not traceable:
        raise RequestError(
            f"no tensor goes into {found.names[0]}, so exercise {id} has no shapes to trace; type vitcourse check {id}"
        )
    codes = load_code(code)
    return [_trace(codes, found, name, {**examples()["sizes"], **(sizes or {})}, depth) for name in traceable]


def _trace(codes: CodeSet, found: Exercise, name: str, sizes: Mapping[str, int], depth: int | None) -> Trace:
    example = examples()[name]
    function = getattr(codes.module(found.module), name, None)
    if function is None:
        raise RequestError(f"there is no {name} in {codes.shown(codes.file(found.module))}")
    # The numbers themselves don't show, but a seed makes two runs of one trace the same.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            values = _values(codes, example["call"], sizes)
            # By position: a learner's forward may call its input as it likes.
            tensors = [key for key, value in values.items() if isinstance(value, Tensor | dict)]
            names = [shape for key in tensors for shape in _shapes(example["call"][key])]
            if "make" in example:
                function = build(function, **_values(codes, example["make"], sizes))
        except Exception as error:
            return failed(name, error)
        modules = [m for m in (function, *values.values()) if isinstance(m, nn.Module)]
        weights = tuple(sorted(path for module in modules for path in _settled(module)))
        traced = trace(function, *values.values(), names=names, depth=depth)
    traced.name, traced.weights = name, weights
    return traced


def _settled(module: nn.Module) -> list[str]:
    """Give every parameter numbers that its name decides, so that two modules of the same names can be compared."""
    for path, parameter in module.named_parameters():
        with torch.no_grad():
            parameter.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(crc32(path.encode())))
    return [path for path, _ in module.named_parameters()]


def _shapes(entry: Mapping[str, Any]) -> list[str]:
    """The shapes of an argument's tensors."""
    kinds = [entry[kind] for kind in ("tensor", "tensors", "labels", "order") if kind in entry]
    return [shape for kind in kinds for shape in (kind.values() if isinstance(kind, dict) else [kind])]


def _values(codes: CodeSet, entries: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, entry in entries.items():
        torch.manual_seed(len(values))
        values[name] = _value(codes, entry, sizes, values)
    return values


def _value(codes: CodeSet, entry: Any, sizes: Mapping[str, int], others: Mapping[str, Any]) -> Any:
    match entry:
        case str():
            return _number(entry, sizes)
        case list():
            return tuple(_number(word, sizes) for word in entry)
        case {"tensor": str() as shape}:
            return torch.rand([_number(word, sizes) for word in shape.split()])
        case float():
            return entry
        case {"tensors": dict() as shapes}:
            return {name: _value(codes, {"tensor": shape}, sizes, others) for name, shape in shapes.items()}
        case {"order": str() as size}:
            return torch.randperm(_number(size, sizes))
        case {"labels": str() as shape, "below": str() as limit}:
            return torch.randint(_number(limit, sizes), [_number(word, sizes) for word in shape.split()])
        case {"make": str() as path, "with": dict() as arguments}:
            home, _, kind = path.rpartition(".")
            return built(getattr(importlib.import_module(home), kind), (), _values(codes, arguments, sizes), arguments)
        case {"exercise": str() as name}:
            found = next(other for other in exercises() if name in other.names)
            kind = getattr(codes.module(found.module), name)
            return build(kind, **_values(codes, {**examples()[name]["make"], **entry.get("with", {})}, sizes))
        case {"optimizer": str() as name}:
            model: nn.Module = others[name]
            return torch.optim.SGD(model.parameters(), lr=0.1)
    raise ValueError(f"an example has {entry!r}, which is no value that it may have")


def _number(text: str, sizes: Mapping[str, int]) -> int:
    return int(worth(text.replace("*", "·"), sizes))
