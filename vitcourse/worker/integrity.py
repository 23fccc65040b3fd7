"""What in a text looks like reaching around the exercise, with its line: something to look at, and no verdict.

It is read off the syntax before anything runs. Ordinary code can hold any of these; and who hides it well isn't seen.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

from .chapters import parsed

# What answers are written with; anything else that is imported is worth a look.
_USUAL = (
    *("torch", "einops", "jaxtyping", "typing", "math", "numpy", "collections", "functools", "itertools", "copy"),
    *("dataclasses", "__future__", "warnings", "abc", "enum", "contextlib", "operator", "random", "numbers"),
    "chapters",
)
_RUNS_TEXT = ("exec", "eval", "compile", "__import__")
_FRAMES = ("_getframe", "currentframe", "f_back", "f_locals", "f_globals", "get_objects", "get_referrers", "tb_frame")
_MODES = ("TorchFunctionMode", "TorchDispatchMode", "DisableTorchFunction", "DisableTorchFunctionSubclass")
_INNER = ("_C", "_refs", "_decomp", "_prims", "ops", "_dynamo", "_inductor", "library")
_BUILTIN_SPACES = ("__builtins__", "__globals__", "__subclasses__", "__code__", "__loader__", "__spec__")
_MOST = 20  # findings of one chapter


def around(texts: Mapping[str, str], shown: Mapping[str, str], module: str, chapters: Sequence[str]) -> list[str]:
    """Sentences on a chapter and on the helpers beside it: file, line, what is there."""
    own = [name for name in texts if name == module or name not in chapters]
    found = [
        f"{shown.get(name, name)}, line {line}: {what}" for name in own for line, what in _seen(texts[name], texts)
    ]
    return found[:_MOST]


def _seen(text: str, beside: Mapping[str, str]) -> list[tuple[int, str]]:
    nodes = ast.walk(parsed(text))
    return sorted({(getattr(node, "lineno", 0), what) for node in nodes for what in _of(node, beside) if what})


def _of(node: ast.AST, beside: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_import(alias.name, beside) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield _import(node.module or "", beside)
        yield from (_import(f"{node.module}.{alias.name}", beside) for alias in node.names)
    elif isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        yield from _named(name, isinstance(node, ast.Attribute))
        if isinstance(node.ctx, ast.Store | ast.Del) and _path(node).startswith(("torch.", "nn.", "F.", "math.")):
            yield f"{_path(node)} is patched"
    elif isinstance(node, ast.Call) and _path(node.func) == "setattr" and node.args:
        yield f"setattr on {_path(node.args[0]) or 'something'}"


def _import(name: str, beside: Mapping[str, str]) -> str:
    top, *below = name.split(".")
    if top == "torch" and (inner := [part for part in below if part in _INNER or part in _MODES]):
        return f"torch's own inside ({inner[0]}) is imported"
    return "" if top in _USUAL or top in beside else f"{top} is imported"


def _named(name: str, attribute: bool) -> Iterator[str]:
    if name in _RUNS_TEXT and not attribute:
        yield f"{name} runs text as code"
    elif name in _FRAMES or name in _BUILTIN_SPACES:
        yield f"{name} looks into Python's own state"
    elif name in _MODES:
        yield f"{name} changes how torch's functions are called"
    elif attribute and name in _INNER:
        yield f"{name} reaches into torch's own inside"
    elif name in ("Thread", "ThreadPoolExecutor", "fork", "Process"):
        yield f"{name}: something runs beside the exercise"


def _path(node: ast.AST) -> str:
    """A dotted name as it is written, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
