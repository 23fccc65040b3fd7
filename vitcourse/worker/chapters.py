"""A learner's chapters as a package, made from texts: nothing of theirs is read from the disk here.

They are the package `chapters`, whatever their folder is called, so that `from .ch01_patches import …` and
`from chapters.ch01_patches import …` both mean the learner's own.
"""

import ast
import difflib
import importlib
import linecache
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "chapters"
REFUSED = ("vitcourse", "solutions", "tests", "conftest")
# What Python raises at a text that it can't read: no Python, a NUL in it, or nested too deeply.
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


class Refused(ImportError):
    """An answer asks for something of the course that isn't the learner's own."""


class Texts(MetaPathFinder):
    """Where Python finds the learner's modules, and doesn't find the course's own."""

    def __init__(self, texts: Mapping[str, str], shown: Mapping[str, str]) -> None:
        self.texts = texts  # by module's name below the package, "" the package itself
        self.shown = shown  # the file's name as the learner knows it

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A chapter's, or that of a helper module beside the chapters."""
        top, _, below = fullname.partition(".")
        name = below if top == PACKAGE else fullname  # `import helpers`: as if the chapters' folder were on the path
        if name in self.texts:
            return ModuleSpec(fullname, Source(self, name), origin=self.shown.get(name), is_package=not name)
        if top in REFUSED:
            raise Refused(f"{top} can't be imported in an answer", name=top)
        return None


class Source(InspectLoader):
    """Loads one of the texts; tracebacks and `inspect` see its lines."""

    def __init__(self, texts: Texts, name: str) -> None:
        self.texts, self.name = texts, name

    def get_source(self, fullname: str) -> str:
        """The text."""
        return self.texts.texts.get(self.name, "")

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        text, file = self.get_source(""), self.texts.shown.get(self.name, PACKAGE)
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        module.__file__ = file
        exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)


def install(texts: Mapping[str, str], shown: Mapping[str, str]) -> None:
    """Let the chapters be importable."""
    sys.meta_path.insert(0, Texts({"": "", **texts}, shown))
    sys.dont_write_bytecode = True


def find(module: str, name: str) -> Any:
    """The object of that name in a chapter."""
    return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)


def load(module: str) -> dict[str, Any]:
    """Import a chapter; what went wrong, if anything, as `fault` has it."""
    try:
        importlib.import_module(f"{PACKAGE}.{module}")
    except BaseException as error:
        return fault(error)
    return {}


CONFLICT = "a merge conflict is left there (<<<<<<<); keep one of its two sides, and delete the other and the marks"


def conflict_in(text: str) -> int:
    """The first line of a merge conflict that nobody has decided; 0 where there is none."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if line.startswith("<<<<<<< ")]
    return starts[0] if starts and any(line.startswith(">>>>>>> ") for line in lines[starts[0] :]) else 0


def fault(error: BaseException) -> dict[str, Any]:
    """An exception as data: its type and those above it, its text, the learner's lines from the outermost on."""
    frames = [
        {"file": frame.filename, "line": frame.lineno or 0, "name": frame.name}
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in _files()
    ]
    conflict = 0
    if isinstance(error, SyntaxError) and error.filename in _files():
        conflict = conflict_in("".join(linecache.getlines(error.filename)))
        frames.append({"file": error.filename, "line": conflict or error.lineno or 0, "name": ""})
    try:
        message = CONFLICT if conflict else error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # it is the learner's own
        message = ""
    return {
        "type": type(error).__name__,
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "message": str(message)[:4000],
        "name": str(getattr(error, "name", "") or ""),
        "frames": frames[-20:],
    }


@lru_cache(32)
def parsed(text: str) -> ast.Module:
    """The syntax of a text, once for all who look at it; that of an empty one where Python can't read it."""
    try:
        return ast.parse(text)
    except UNREADABLE:
        return ast.parse("")


def read(text: str, names: Sequence[str]) -> dict[str, Any]:
    """What can be seen in a chapter's text without running it, of these names.

    definitions: for each that is defined, its lines, where the stub's NotImplementedError is still raised (line and
    function), and its methods. like: for each, the definition whose name is nearest to it, if one is near.
    """
    there = {node.name: node for node in parsed(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    definitions = {
        name: {
            "lines": (min([node.lineno, *(word.lineno for word in node.decorator_list)]), node.end_lineno or 0),
            "raises": _stub_raises(node),
            "methods": [part.name for part in node.body if isinstance(part, ast.FunctionDef)],
        }
        for name, node in there.items()
        if name in names
    }
    like = {name: next(iter(difflib.get_close_matches(name, there, n=1, cutoff=0.75)), "") for name in names}
    return {"definitions": definitions, "like": like}


def _files() -> set[str]:
    return {file for finder in sys.meta_path if isinstance(finder, Texts) for file in finder.shown.values()}


def _stub_raises(node: ast.AST, within: str = "") -> list[tuple[int, str]]:
    found = []
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.expr):
            continue  # nothing is raised there, and a sum of a thousand terms is a thousand deep
        name = part.name if isinstance(part, ast.FunctionDef) else within
        if isinstance(part, ast.Raise) and "NotImplementedError" in ast.dump(part):
            found.append((part.lineno, name))
        found += _stub_raises(part, name)
    return found
