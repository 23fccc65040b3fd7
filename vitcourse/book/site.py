"""Builds the book: what changed, with warnings and failing cells as errors, each said in one line."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vitcourse.book import fingerprint
from vitcourse.doctor import to_install
from vitcourse.errors import RequestError, RunError
from vitcourse.places import is_installed, root, workplace

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PROBLEM = re.compile(r"^(?:(?P<file>\S.*?)(?::(?P<line>\d+))?: )?(?P<kind>WARNING|ERROR|CRITICAL): (?P<text>.*)$")
_CELL_FAILED = "Executing notebook failed"
_READING = re.compile(r"^reading sources\.\.\. \[ *\d+%\] (?P<page>\S+)")

# The console script of the same environment, wherever that keeps its scripts.
JUPYTER_BOOK = "import sys; sys.argv[0] = 'jupyter-book'; from jupyter_book.cli.main import main; main()"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Site:
    """The book's folders."""

    root: Path
    work: Path | None = None  # where it is built, if not beside its sources

    @property
    def build(self) -> Path:
        """Where everything made from the sources stands."""
        return (self.work or self.root) / "_build"

    @property
    def output(self) -> Path:
        """The site itself."""
        return self.build / "html"


def find() -> Site:
    """The book of this course. Raises RequestError when a part of it, or Jupyter Book, is missing."""
    site = Site(root(), workplace() if is_installed() else None)
    for name in ("_config.yml", "_toc.yml", "book"):
        if not (site.root / name).exists():
            raise RequestError(f"the book's {name} is not in {site.root}; type: git checkout -- {name}")
    if find_spec("jupyter_book") is None:
        raise RequestError(f"Jupyter Book is not installed; type: {to_install('book')}")
    return site


def build(site: Site, tell: Tell) -> bool:
    """Build what changed; whether there was anything to build. Raises RunError, in one line, when it doesn't go well.

    What stands there and has warnings is read again as a whole: Sphinx gives them only while it reads a page.
    """
    if fingerprint.is_current(site.root, site.output):
        return False
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(site.root), "-W", "--keep-going"]
    if site.work is not None:
        command += ["--path-output", str(site.work)]
    if not fingerprint.record(site.output).is_file():
        command.append("--all")
    lines, code = _run(command, site, tell)
    _raise_problems(problems(lines, site.root))
    if code:
        raise RunError(f"jupyter-book ended with {code}: {_last_words(lines)}")
    return True


def _run(command: list[str], site: Site, tell: Tell) -> tuple[list[str], int]:
    """The lines that the command writes, and its exit code."""
    lines: list[str] = []
    # Jupyter and its debugger say things of no use to a reader of this output.
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    # The pages' cells import solutions, which an installed course has in a folder of its own.
    quiet["PYTHONPATH"] = os.pathsep.join([str(site.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        command,
        cwd=site.work or site.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **quiet},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                plain = _COLOURS.sub("", line).rstrip()
                reading = _READING.match(plain)
                if reading:
                    tell(reading["page"])
                lines.append(plain)
        except BaseException:
            process.terminate()
            raise
    return lines, process.returncode


def problems(lines: list[str], root: Path) -> list[str]:
    """The warnings and errors in Sphinx's output, each after its file of the book and the line in it."""
    found: list[str] = []
    for number, line in enumerate(lines):
        match = _PROBLEM.match(line)
        if match is None:
            continue
        # A docstring's place is "…/module.py:docstring of name".
        file = (match["file"] or "").replace(f"{root}{os.sep}", "")
        if _CELL_FAILED in match["text"]:
            found.append(_failed_cell(lines[number + 1 :], file, root))
        else:
            found.append(_placed(match["text"], file, int(match["line"] or 0)))
    return found


def _placed(text: str, file: str, line: int) -> str:
    where = f"{file}, line {line}: " if line else f"{file}: " if file else ""
    return f"{where}{text}"


def _failed_cell(lines: list[str], file: str, root: Path) -> str:
    """The cell is between the first two rulers of the traceback; the error's own line names it."""
    rulers = [number for number, line in enumerate(lines) if re.fullmatch(r"-{10,}", line)]
    cell = lines[rulers[0] + 1 : rulers[1]] if len(rulers) > 1 else []
    errors = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception|Interrupt|Exit|Warning)(:|$)", line)]
    named = [line for line in errors if "ExecutionError" not in line and "CellTimeoutError" not in line] or errors
    return _placed(f"a cell failed: {named[0] if named else 'no error was named'}", file, _line_of(cell, root / file))


def _line_of(cell: list[str], file: Path) -> int:
    """The line at which a cell's code begins in its page; 0 when it can't be found."""
    code = "\n".join(cell).strip()
    before, found, _ = (file.read_text(encoding="utf-8") if file.is_file() else "").partition(f"\n{code}\n")
    return before.count("\n") + 2 if code and found else 0


def _raise_problems(found: list[str]) -> None:
    if not found:
        return
    for problem in found[1:]:
        print(f"vitcourse: {problem}", file=sys.stderr)
    more = f" (and {len(found) - 1} more, above)" if len(found) > 1 else ""
    raise RunError(f"the book is not built: {found[0]}{more}")


def _last_words(lines: list[str]) -> str:
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception): \S", line)]
    words = named[:1] or [line for line in lines if line.strip(" =")]
    return " ".join(words[-1].split()) if words else "it said nothing"
