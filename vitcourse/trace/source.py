"""Where a tensor step stands: the expression as written, in the code that the reader can see."""

import ast
import linecache
import os
import re
import sysconfig
from dataclasses import dataclass
from dis import opname
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import einops
import torch
from executing import Source

_WHOLES = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)
COMPREHENSIONS = {"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>"}
_SITE = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_STANDARD = sysconfig.get_path("stdlib")
_LIBRARIES = tuple(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, einops.__file__, __file__))
_WRAPPERS = tuple(
    f"{os.sep}{name}{os.sep}"
    for name in ("jaxtyping", "beartype", "typeguard", "numpy", "executing", "_pytest", "pluggy")
)


def readable(filename: str) -> bool:
    """Whether steps in a file are shown: those of models are, those inside the libraries not."""
    if filename.startswith(_LIBRARIES) or filename.startswith("<frozen"):
        return False
    if any(wrapper in filename for wrapper in _WRAPPERS):
        return False
    return filename.startswith(_SITE) or "site-packages" in filename or not filename.startswith(_STANDARD)


@dataclass(frozen=True)
class Place:
    """An expression in a file."""

    file: str
    line: int
    text: str


def passed_by(error: BaseException) -> list[TracebackType]:
    """Every place that an error left, the outermost first."""
    passed, trace = [], error.__traceback__
    while trace is not None:
        passed.append(trace)
        trace = trace.tb_next
    return passed


def raised_in(error: BaseException) -> TracebackType | None:
    """Where an error left the last line that is shown."""
    return next((at for at in reversed(passed_by(error)) if readable(at.tb_frame.f_code.co_filename)), None)


# A piece of code, which keeps its id its own, never changes its source: an edited file makes new code.
_places: dict[tuple[int, int], tuple[CodeType, Place]] = {}


def place_of(frame: FrameType, lasti: int) -> Place:
    """The expression that a frame is working on."""
    key = id(frame.f_code), lasti
    if key not in _places:
        _places[key] = frame.f_code, _found(frame, lasti)
    return _places[key][1]


def _found(frame: FrameType, lasti: int) -> Place:
    code = frame.f_code
    line, *span = [*code.co_positions()][lasti // 2]
    try:
        found = Source.executing(TracebackType(None, frame, lasti, line or code.co_firstlineno))
        node: Any = found.node
        if opname[code.co_code[lasti]].startswith(("UNPACK", "STORE_S", "DELETE_S")):
            # What is taken apart is shown with its names, what is put in a place with the place.
            column = span[1] or 0
            wholes = [whole for whole in found.statements or () if isinstance(whole, _WHOLES)]
            node = next((whole for whole in wholes if whole.col_offset <= column < (whole.end_col_offset or 0)), node)
        elif opname[code.co_code[lasti]].startswith("RAISE"):
            # Python itself points at the last part of an assertion, whichever failed.
            node = next((whole.test for whole in found.statements or () if isinstance(whole, ast.Assert)), node)
        line = node.lineno
        span = [node.end_lineno, node.col_offset, node.end_col_offset]
    except Exception:
        # No source, or one that changed since: Python itself knows the place, too, but less well.
        pass
    end, start, stop = span
    if line is None or start is None or stop is None:
        return Place(code.co_filename, line or code.co_firstlineno, "")
    lines = linecache.getlines(code.co_filename)
    return Place(code.co_filename, line, one_line(_cut(lines[line - 1 : end], start, stop)))


def _cut(lines: list[str], start: int, end: int) -> str:
    # ast.get_source_segment splits the whole file anew at each call: 2 ms for a file of 100 lines.
    encoded = [line.rstrip("\r\n").encode() for line in lines]
    if not encoded:
        return ""
    encoded[-1] = encoded[-1][:end]
    encoded[0] = encoded[0][start:]
    return b"\n".join(encoded).decode(errors="replace")


def one_line(text: str) -> str:
    """Source that stands on several lines, as one."""
    if "\n" not in text:
        return text.strip()
    text = re.sub(r"[ \t]*(?:#[^\n]*)?\n\s*", "\n", text.strip())
    text = re.sub(r"(?<=[(\[{])\n|,?\n(?=[)\]}])|\n(?=\.)", "", text)
    return text.replace("\n", " ")


def names_in(text: str) -> list[str]:
    """The names that an expression uses, in their order."""
    try:
        tree = ast.parse(text.strip())
    except SyntaxError:
        return []
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


@cache
def writes_out_a_list(text: str) -> bool:
    """Whether a call's first argument says how many items it has: cat([a, b]), stack([x[i] for i in (0, 1)])."""
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError:
        return False
    first = next(iter(getattr(call, "args", ())), None)
    turns = first.generators if isinstance(first, ast.ListComp | ast.GeneratorExp) else []
    parts = [turn.iter for turn in turns] if turns else [first]
    return not any(turn.ifs for turn in turns) and all(map(_is_written_out, parts))


def _is_written_out(part: ast.expr | None) -> bool:
    if isinstance(part, ast.Call):
        counted = isinstance(part.func, ast.Name) and part.func.id == "range"
        return counted and all(isinstance(number, ast.Constant) for number in part.args)
    return isinstance(part, ast.List | ast.Tuple) and not any(isinstance(item, ast.Starred) for item in part.elts)


@cache
def receiver(text: str) -> str:
    """What a chain has made before its last link: `x.flatten(2)` of `x.flatten(2).mT`."""
    try:
        node: Any = ast.parse(text, mode="eval").body
    except SyntaxError:
        return ""
    made = getattr(getattr(node, "func", node), "value", None)
    segment = "" if made is None or isinstance(made, ast.Name) else ast.get_source_segment(text, made) or ""
    return segment if text.startswith(segment) else ""


def called(frame: FrameType, name: str) -> str:
    """What a reader calls the function of a frame."""
    # torch's wrapper round __rpow__ and its kin is called "wrapped", and the one round max_pool2d "fn".
    inner = {"wrapped": "f", "fn": "if_false"}.get(name)
    return str(getattr(frame.f_locals.get(inner), "__name__", name) if inner else name).strip("_")
