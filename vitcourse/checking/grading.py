"""Check a set of chapters: run pytest in a child process and read one verdict for each exercise.

The child may die or hang at any check, since it runs a learner's code. That check then gets its verdict from here, and
a new child goes on with the next. It runs on a copy of the chapters, in a folder of its own and with limits on time,
memory and output: what the code does to its files it does to the copy.
"""

import ast
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from vitcourse.codesets import CodeSet, root
from vitcourse.course import Exercise
from vitcourse.errors import RequestError
from vitcourse.progress import is_started

FAILURES = ("failed", "error", "timeout")


@dataclass(frozen=True)
class Verdict:
    """What a check says of one exercise.

    status is passed, failed, error (the code could not be run), timeout, blocked or not-started; headline is one
    sentence; diagnosis says more, in lines; misconception is the name of the known wrong answer that it is, if it is
    one; file and line tell where the exercise stands in the learner's chapter; use_solution names the chapters that
    were the references' in this run.
    """

    exercise: str
    status: str
    headline: str
    diagnosis: str = ""
    misconception: str = ""
    file: str = ""
    line: int = 0
    use_solution: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Grading:
    """The verdicts, in the order of the course, and what pytest printed."""

    verdicts: list[Verdict]
    output: str


class Child(Protocol):
    """A process that runs pytest; as subprocess.Popen has it, the return code is minus the signal that ended it."""

    @property
    def returncode(self) -> int | None:
        """How it ended, once it has been seen to end."""

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> int:
        """Wait until it has ended."""


# Starts pytest with these arguments, in this folder, printing into this file.
Start = Callable[[list[str], Path, Path], Child]


def start_anew(arguments: list[str], folder: Path, printed: Path) -> Child:
    """Start a new Python for it."""
    with printed.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )


def grade(code: CodeSet, asked: Sequence[Exercise], timeout: float = 60.0, start: Start = start_anew) -> Grading:
    """Check these exercises of the set, each with what it needs; timeout is in seconds for one check.

    start makes the child processes.

    Exercises of a chapter that is the references' get no verdict.
    Raises RequestError when the course's folders are not beside the package, and when nothing is left to check.
    """
    asked = [exercise for exercise in asked if exercise.module not in code.use_solution]
    if not asked:
        raise RequestError(
            f"{code.label}, nothing of yours is left to check; type another chapter, or no --use-solution"
        )
    started = [exercise for exercise in asked if is_started(code, exercise) or code.name == "solutions"]
    waiting = _with_needs(code, started)
    lines: dict[str, dict[str, str]] = {}
    output = []
    while waiting:
        found, printed = _run_child(code, waiting, timeout, start)
        output.append(printed)
        if not found:
            lines.setdefault(waiting[0].id, _lost(printed))
            break
        lines.update(found)
        waiting = waiting[_last(waiting, found) + 1 :] if _died(found) else []
    verdicts = []
    for exercise in asked:
        if exercise in started:
            line = lines.get(exercise.id, _lost("\n".join(output)))
            verdict = {key: line.get(key, "") for key in ("status", "headline", "diagnosis", "misconception")}
        else:
            verdict = {"headline": f"exercise {exercise.id} not started", "status": "not-started"}
        file, line_number = place(code, exercise)
        if label := code.label_for(exercise.module):
            verdict["headline"] += f" ({label})"
        verdicts.append(
            Verdict(exercise=exercise.id, file=file, line=line_number, use_solution=code.use_solution, **verdict)
        )
    return Grading(verdicts, "\n".join(output))


def up_to_first_not_done(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts up to and including the first that is not passed."""
    shown: list[Verdict] = []
    for verdict in verdicts:
        shown.append(verdict)
        if verdict.status != "passed":
            break
    return shown


def place(code: CodeSet, exercise: Exercise) -> tuple[str, int]:
    """The file and the line at which an exercise stands in a set; line 0 when it can't be found there."""
    file = code.shown(code.file(exercise.module))
    try:
        tree = ast.parse(code.source(exercise.module) or "")
    except (SyntaxError, ValueError):
        return file, 0
    lines = [node.lineno for node in tree.body if getattr(node, "name", None) in exercise.names]
    return file, min(lines, default=0)


def _with_needs(code: CodeSet, asked: Sequence[Exercise]) -> list[Exercise]:
    wanted = {exercise.id: exercise for entry in asked for exercise in (*entry.all_needs, entry)}
    runnable = [
        exercise
        for exercise in wanted.values()
        if exercise.module not in code.use_solution and (exercise in asked or is_started(code, exercise))
    ]
    return sorted(runnable, key=lambda exercise: [int(part) for part in exercise.id.split(".")])


def _run_child(
    code: CodeSet, exercises: Sequence[Exercise], timeout: float, start: Start
) -> tuple[dict[str, dict[str, str]], str]:
    """One child: the lines that it wrote, by exercise, and what it printed; where it died, a line says so."""
    with tempfile.TemporaryDirectory(prefix="vitcourse-", ignore_cleanup_errors=True) as folder:
        report, printed, place = Path(folder) / "verdicts.jsonl", Path(folder) / "printed.txt", Path(folder) / "run"
        place.mkdir()
        tests = sorted({str(root() / "tests" / f"test_{exercise.module}.py") for exercise in exercises})
        arguments = [
            *("--quiet", "--tb=short", "-p", "no:cacheprovider", "--limited"),
            *("--rootdir", str(root()), "--config-file", str(root() / "pyproject.toml")),
            *("--code", code.name if code.name == "solutions" else str(_copied(code, place))),
            *(word for chapter in code.use_solution for word in ("--use-solution", chapter)),
            *("--exercises", ",".join(exercise.id for exercise in exercises), "--verdicts", str(report), *tests),
        ]
        child = start(arguments, place, printed)
        hung = _watch(child, report, timeout)
        text = printed.read_text(encoding="utf-8", errors="replace")
        lines = {line["exercise"]: line for line in _read(report)}
    for line in lines.values():
        if line["status"] == "running":
            line["diagnosis"] = ""
            if hung:
                line.update(status="timeout", headline=f"the check did not end within {timeout:g} seconds")
            else:
                line.update(status="error", headline=f"the check ended Python itself ({_ending(child.returncode)})")
            line["died"] = "yes"
    return lines, text


def _copied(code: CodeSet, place: Path) -> Path:
    """A copy of the chapters, under the folder's own name, so that messages name the file as the learner knows it."""
    copy = place / code.folder.name
    copy.mkdir()
    for file in code.folder.glob("*.py"):
        shutil.copyfile(file, copy / file.name)
    return copy


def _watch(child: Child, report: Path, timeout: float) -> bool:
    """Wait for the child; kill it, and return True, when one check takes longer than the timeout."""
    size, since = -1, time.monotonic()
    try:
        while child.poll() is None:
            time.sleep(0.01)
            now = report.stat().st_size if report.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            elif size and time.monotonic() - since > timeout:
                return True
        return False
    finally:
        if child.poll() is None:  # it hangs, or whoever waits for it was interrupted
            child.kill()
            child.wait()


def _read(report: Path) -> Iterator[dict[str, str]]:
    if report.exists():
        for line in report.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


def _died(lines: dict[str, dict[str, str]]) -> bool:
    return any("died" in line for line in lines.values())


def _last(exercises: Sequence[Exercise], lines: dict[str, dict[str, str]]) -> int:
    return max(index for index, exercise in enumerate(exercises) if exercise.id in lines)


def _ending(returncode: int | None) -> str:
    if returncode is None:
        return "no exit code"
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"


def _lost(printed: str) -> dict[str, str]:
    tail = "\n".join(printed.strip().splitlines()[-5:])
    return {"status": "error", "headline": "the check could not be run", "diagnosis": tail}
