"""The one door to the teaching code: load a set of chapters by its name.

A set is a folder with the files ch01_patches.py, ch02_tokens.py, …: the references in solutions/, a learner's in
chapters/, or any other folder of a learner's. A chapter imports the earlier ones of its own set, by relative imports.
"""

import ast
import contextlib
import importlib
import itertools
import linecache
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from vitcourse.course import chapter as chapter_of
from vitcourse.course import chapters
from vitcourse.definitions import fault_in
from vitcourse.errors import RequestError, in_one_line
from vitcourse.files import plain_text
from vitcourse.places import CHAPTERS, holds_chapters, root, workplace
from vitcourse.worker.chapters import UNREADABLE

OWN_SETS = ("solutions", "chapters")
LARGEST = 2**20  # bytes of one text


class BrokenChapterError(RequestError):
    """A chapter's file can't be imported. The message names the file, the line and the error."""


@dataclass(frozen=True)
class CodeSet:
    """One set of chapters: its name as asked for, its folder, and the package under which it is imported.

    use_solution names the chapters that are the references' in place of this folder's own.
    """

    name: str
    folder: Path
    package: str
    use_solution: tuple[str, ...] = field(default=(), kw_only=True)

    def file(self, module: str) -> Path:
        """Where the chapter stands."""
        return (root() / "solutions" if module in self.use_solution else self.folder) / f"{module}.py"

    @property
    def is_own(self) -> bool:
        """Whether these are a learner's chapters in the course's own folder, and nothing else."""
        return self.name == "chapters" and not self.use_solution

    @property
    def label(self) -> str:
        """What must be said of every result that rests on a reference's chapter; empty when none does."""
        numbers = [str(chapter.number) for chapter in chapters() if chapter.module in self.use_solution]
        several = "s" * (len(numbers) > 1)
        return f"with the solution{several} of chapter{several} {' and '.join(numbers)}" if numbers else ""

    @property
    def options(self) -> str:
        """What a check of this set has to be given after the exercise, with a space before it; empty for chapters/."""
        code = "" if self.name == "chapters" else f" --code {shlex.quote(self.name)}"
        return code + "".join(f" --use-solution {chapter_of(module).words[1]}" for module in self.use_solution)

    def label_for(self, module: str) -> str:
        """The same for the results of one chapter, which can only rest on earlier ones."""
        order = [chapter.module for chapter in chapters()]
        earlier = tuple(name for name in self.use_solution if order.index(name) < order.index(module))
        return replace(self, use_solution=earlier).label

    def source(self, module: str) -> str | None:
        """The chapter's text, or None when there is no such file. Raises BrokenChapterError for what is no answer."""
        file, shown = self.file(module), self.shown_as(module)
        stub = f"vitcourse reset {chapter_of(module).number}"
        if target := leads_astray(file):
            raise BrokenChapterError(f"{shown} is a link to {target}; for the stub type {stub}")
        if not file.exists():
            return None
        if not file.is_file():  # a folder, say, or a pipe, at which one would wait for ever
            raise BrokenChapterError(f"{shown} is there, and is no file; move it away; for the stub type {stub}")
        if file.stat().st_size > LARGEST:  # Python reads at such a one for minutes, and nothing can stop it
            raise BrokenChapterError(
                f"{shown} is larger than {LARGEST // 2**20} MiB; shorten it, or move it away and type {stub}"
            )
        content = file.read_bytes()
        try:
            return plain_text(content)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise BrokenChapterError(
                f"{shown}, line {line}: a letter is not in UTF-8; save the file as UTF-8 in your editor"
            ) from error

    def text(self, module: str) -> str:
        """The same, where there has to be one: raises BrokenChapterError where there is none, too."""
        text = self.source(module)
        if text is None:
            number = chapter_of(module).number
            again = f"; to have its stubs again, type: vitcourse reset {number}" if self.is_own else ""
            raise BrokenChapterError(f"{self.shown_as(module)} is missing{again}")
        return text

    def texts(self) -> tuple[dict[str, str], dict[str, str]]:
        """By module's name, the texts of the chapters and of what lies beside them, and what each file is called."""
        files = {chapter.module: self.file(chapter.module) for chapter in chapters()}
        beside = {file.stem: file for file in sorted(self.folder.glob("*.py")) if file.stem.isidentifier()}
        texts = {module: text for module in files if (text := self.source(module)) is not None}
        for stem in beside.keys() - files.keys():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts[stem] = beside[stem].read_text(encoding="utf-8")
        return texts, {module: self.shown({**beside, **files}[module]) for module in texts}

    def shown_as(self, module: str) -> str:
        """What a chapter's file is called."""
        return self.shown(self.file(module))

    def module(self, module: str) -> ModuleType:
        """Import the chapter, and with it the earlier ones that it imports.

        Raises BrokenChapterError, in one line, when the file is missing or can't be imported.
        """
        name = f"{self.package}.{module}"
        if name in sys.modules:
            return sys.modules[name]
        self.require_python(module)
        import torch  # noqa: F401  # before bytecode is off, so that torch's own is kept

        # A learner's folder is read, never written into; and a stale .pyc can't stand in for an edited file.
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            return importlib.import_module(name)
        except KeyboardInterrupt:  # Ctrl-C, as a rule
            raise
        except BaseException as error:  # sys.exit() in a chapter, say
            raise BrokenChapterError(self._import_fault(module, error)) from error
        finally:
            sys.dont_write_bytecode = before

    def shown(self, path: str | Path) -> str:
        """A file of this set as a reader knows it: chapters/ch01_patches.py; your own, from elsewhere, by its path."""
        path = Path(path)
        with contextlib.suppress(OSError):  # the current folder was deleted meanwhile
            near = not self.is_own or Path.cwd().is_relative_to(self.folder.parent)
            if path.parent == self.folder and near:
                return f"{self.folder.name}/{path.name}"
        return str(path)

    def line_of(self, error: BaseException) -> str | None:
        """The innermost line of this set's own code from which an exception came, as "file, line n"."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if Path(frame.filename).parent == self.folder:
                return f"{self.shown(frame.filename)}, line {frame.lineno}"
        return None

    def require_python(self, *modules: str) -> None:
        """Raise BrokenChapterError, in one line, for a chapter whose file is missing or can't be parsed."""
        for module in modules:
            text = self.text(module)
            try:
                ast.parse(text)
            except UNREADABLE as error:
                raise BrokenChapterError(f"{self.shown_as(module)}, {fault_in(text, error)}") from error

    def _import_fault(self, module: str, error: BaseException) -> str:
        if isinstance(error, SyntaxError) and error.filename:  # of a file that the chapter imports
            linecache.checkcache(error.filename)
            return f"{self.shown(error.filename)}, {fault_in(''.join(linecache.getlines(error.filename)), error)}"
        where = self.line_of(error) or self.shown_as(module)
        return f"{where}: {type(error).__name__}: {in_one_line(error)}"


def leads_astray(file: Path) -> str:
    """What a chapter's file is a link to when it is none of its own: a check would praise it, a reset overwrite it."""
    if not file.is_symlink():
        return ""
    if not file.exists():  # nor does a link to itself
        return "nothing"
    return "the solution" if file.resolve().is_relative_to(root() / "solutions") else ""


def load_code(name: str | Path, use_solution: Sequence[str] = ()) -> CodeSet:
    """The set of chapters called "solutions" or "chapters", or the one in the folder of that path.

    The chapters that use_solution names ("ch02_tokens", "ch02" or "2") are the references' in what `file`, `source` and
    `texts` give. Each other folder is loaded anew at every call, so that its present text is what counts.
    Raises RequestError when the folder is not there or holds no chapter, or use_solution names no chapter.
    """
    replaced = tuple(sorted({chapter_of(word).module for word in use_solution}))
    if replaced and str(name) == "solutions":
        raise RequestError("solutions are the solutions already; type --use-solution with chapters or a folder's path")
    if str(name) in OWN_SETS:
        folder, package = (root() if str(name) == "solutions" else workplace()) / str(name), str(name)
    else:
        folder, package = Path(name).expanduser().resolve(), f"vitcourse_code_{next(_count)}"
    if not folder.is_dir():
        raise RequestError(f"there is no set of chapters {str(name)!r}; type solutions, chapters or a folder's path")
    if not holds_chapters(folder):
        inner = folder / CHAPTERS
        advice = f"type {inner}" if holds_chapters(inner) else f"it should hold {chapters()[0].module}.py and so on"
        raise RequestError(f"the folder {name} holds no chapter; {advice}")
    if list(getattr(sys.modules.get(package), "__path__", ())) != [str(folder)]:
        for loaded in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[loaded]  # those of another folder of this name
        module = ModuleType(package, f"The chapters in {folder}.")
        module.__path__ = [str(folder)]
        sys.modules[package] = module
    return CodeSet(str(name), folder, package, use_solution=replaced)


_count = itertools.count()
