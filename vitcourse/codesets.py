"""The one door to the teaching code: load a set of chapters by its name.

A set is a folder with the files ch01_patches.py, ch02_tokens.py, …: the references in solutions/, a learner's in
chapters/, or any other folder of a learner's. A chapter imports the earlier ones of its own set, by relative imports.
"""

import contextlib
import importlib
import itertools
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import vitcourse
from vitcourse.course import chapters
from vitcourse.errors import RequestError

OWN_SETS = ("solutions", "chapters")


class BrokenChapterError(RequestError):
    """A chapter's file can't be imported. The message names the file, the line and the error."""


@dataclass(frozen=True)
class CodeSet:
    """One set of chapters: its name as asked for, its folder, and the package under which it is imported."""

    name: str
    folder: Path
    package: str

    def file(self, module: str) -> Path:
        """Where the chapter stands."""
        return self.folder / f"{module}.py"

    def source(self, module: str) -> str | None:
        """The chapter's text, or None when there is no such file."""
        try:
            return self.file(module).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise BrokenChapterError(f"{self.file(module)} is not a UTF-8 text file") from error

    def module(self, module: str) -> ModuleType:
        """Import the chapter, and with it the earlier ones that it imports.

        Raises BrokenChapterError, in one line, when the file is missing or can't be imported.
        """
        import torch  # noqa: F401  # before bytecode is off, so that torch's own is kept

        try:
            with _no_bytecode():
                return importlib.import_module(f"{self.package}.{module}")
        except Exception as error:
            raise BrokenChapterError(self._import_fault(module, error)) from error

    def shown(self, path: str | Path) -> str:
        """A file of this set as a reader knows it: chapters/ch01_patches.py, not the whole path."""
        path = Path(path)
        return f"{self.folder.name}/{path.name}" if path.parent == self.folder else str(path)

    def line_of(self, error: BaseException) -> str | None:
        """The innermost line of this set's own code from which an exception came, as "file, line n"."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).parent == self.folder:
                return f"{self.shown(frame.filename)}, line {frame.lineno}"
        return None

    def _import_fault(self, module: str, error: Exception) -> str:
        if not self.file(module).exists():
            return f"{self.shown(self.file(module))} is missing"
        if isinstance(error, SyntaxError) and error.filename:
            return f"{self.shown(error.filename)}, line {error.lineno}: {type(error).__name__}: {error.msg}"
        where = self.line_of(error) or self.shown(self.file(module))
        return f"{where}: {type(error).__name__}: {' '.join(str(error).split())}"


def root() -> Path:
    """The folder of the course: the checkout in which chapters/, solutions/ and tests/ lie beside this package.

    Raises RequestError when the package was installed away from them.
    """
    folder = Path(vitcourse.__file__).resolve().parent.parent
    if not (folder / "solutions").is_dir():
        raise RequestError("the course's folders are not beside the package; in the course's folder, type: uv sync")
    return folder


def load_code(name: str | Path) -> CodeSet:
    """The set of chapters called "solutions" or "chapters", or the one in the folder of that path.

    Each other folder is loaded anew at every call, so that its present text is what counts.
    Raises RequestError when the folder is not there or holds no chapter.
    """
    if str(name) in OWN_SETS:
        folder, package = root() / str(name), str(name)
    else:
        folder, package = Path(name).expanduser().resolve(), f"vitcourse_code_{next(_count)}"
    if not folder.is_dir():
        raise RequestError(f"there is no set of chapters {str(name)!r}; type solutions, chapters or a folder's path")
    if not any((folder / f"{chapter.module}.py").is_file() for chapter in chapters()):
        raise RequestError(f"the folder {name} holds no chapter; it should hold {chapters()[0].module}.py and so on")
    if package not in sys.modules:
        module = ModuleType(package, f"The chapters in {folder}.")
        module.__path__ = [str(folder)]
        sys.modules[package] = module
    return CodeSet(str(name), folder, package)


_count = itertools.count()


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    # A learner's folder is read, never written into; and a stale .pyc can't stand in for an edited file.
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
