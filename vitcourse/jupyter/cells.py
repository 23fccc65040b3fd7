"""An answer in a notebook's cell becomes part of the chapter's file: it is written in the cell, and the file counts."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from vitcourse.definitions import (
    NotReplaceableError,
    constants,
    definition,
    definitions,
    fault_in,
    lines_of,
    with_definitions,
    with_imports,
)
from vitcourse.errors import RequestError
from vitcourse.worker.chapters import UNREADABLE


@dataclass(frozen=True)
class Cell:
    """A cell's statements by what becomes of them: imports, definitions, constants for the file; the rest is run."""

    text: str
    imports: tuple[str, ...]
    names: tuple[str, ...]
    constants: dict[str, str]
    rest: str


def read_cell(text: str, wanted: Sequence[str]) -> Cell:
    """Read a cell that should define one of the wanted names, or all.

    Raises RequestError when it can't be read as Python, or defines none of them.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line = (error.lineno or 0) + 1  # the cell's first line is the magic
        raise RequestError(f"line {line} of the cell: {type(error).__name__}: {error.msg}") from error
    except UNREADABLE as error:
        raise RequestError(f"the cell can't be read as Python: {type(error).__name__}") from error
    names, given = tuple(definitions(text)), constants(text)
    if not set(names) & set(wanted):
        raise RequestError(f"the cell defines no {' or '.join(wanted)}; write the answer below the first line")
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    left = [ast.get_source_segment(text, node) or "" for node in tree.body if node not in imports and _is_run(node)]
    rest = "\n".join(statement for statement in left if not constants(statement))
    return Cell(text, tuple(map(ast.unparse, imports)), names, given, rest)


def with_cell(source: str, cell: Cell, wanted: Sequence[str], file: str = "the chapter's file") -> str:
    """The chapter's text with the cell's answer in the place of what it had; file is what to call it.

    Raises RequestError when the chapter can't be read, or what stands there can't be replaced alone.
    """
    try:
        own = [name for name in cell.names if name in wanted]
        there = {*definitions(source), *constants(source)}
        beside = [name for name in (*cell.constants, *cell.names) if name not in wanted]
        after = with_definitions(source, cell.text, own + [name for name in beside if name in there])
        fresh = [cell.constants.get(name) or definition(cell.text, name) for name in beside if name not in there]
        lines, (start, _) = lines_of(after), definitions(after)[own[0]]
        lines[start:start] = [f"{text}\n\n\n" for text in fresh]
        return with_imports("".join(lines), "\n".join(cell.imports))
    except UNREADABLE as error:
        fault = error if isinstance(error, NotReplaceableError) else fault_in(source, error)
        raise RequestError(f"{file} can't be changed ({fault}); mend it there, and run the cell again") from error


def _is_run(node: ast.stmt) -> bool:
    """Whether a statement is neither a definition nor a text that stands alone."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return not is_text and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
