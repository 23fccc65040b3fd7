"""The judge of one exercise: asks a worker what the check asks, and says what the observations mean.

References, inputs, seeds, comparisons, names and verdicts are here; a learner's code never runs in this process.
"""

import inspect
import re
import runpy
import sys
import zlib
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from secrets import randbelow
from typing import Any, Literal, Protocol

from vitcourse.checking.wall import Worker, WorkerLost
from vitcourse.checking.workers import Workers, fenced
from vitcourse.course import Exercise, chapters
from vitcourse.places import root
from vitcourse.progress import stubs
from vitcourse.worker.loading import loading

TIMEOUT = 60.0  # seconds that the code of one exercise may take
_LINES = 6  # of what it prints that are shown
_LONGEST = 4_000  # characters of a headline, or of a diagnosis


# What a check may say: error where the code could not be run, unreadable where what was handed in is no text.
Status = Literal["passed", "failed", "error", "timeout", "missing", "unreadable", "blocked", "not-started"]


@dataclass(frozen=True)
class Verdict:
    """What a check says of one exercise.

    headline is one sentence; diagnosis says more, in lines; misconception is the name of the mistake that it is, if one
    was found, and found where: "list", "pair", "edit" or "text"; file and line tell where the exercise stands in the
    learner's chapter; use_solution names the chapters that were the references' in this run; seed repeats the inputs;
    stub is the exercise whose stub the code ran into, or that blocks this one; died tells that the code ended its
    process; around holds the lines that look like reaching around the exercise.
    """

    exercise: str
    status: Status
    headline: str
    diagnosis: str = ""
    misconception: str = ""
    found: str = ""
    file: str = ""
    line: int = 0
    use_solution: tuple[str, ...] = ()
    seed: int = 0
    stub: str = ""
    died: bool = False
    around: tuple[str, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value for name, value in asdict(self).items() if name != "around"}


def new_seed() -> int:
    """A seed that nobody knows before."""
    return randbelow(10**6)


class Answers(Protocol):
    """What is judged: a folder of chapters, or what somebody handed in."""

    def texts(self) -> tuple[dict[str, str], dict[str, str]]:
        """By module's name: the texts of the chapters and of what lies beside them, and what each file is called."""

    def shown_as(self, module: str) -> str:
        """What a chapter's file is called."""


class Judge:
    """Judges exercises of sets of chapters with these workers; seed repeats an earlier check, None draws one anew."""

    def __init__(self, workers: Workers, timeout: float = TIMEOUT, seed: int | None = None) -> None:
        self.workers, self.timeout, self.seed = workers, timeout, seed
        # By a chapter and all texts, where to load it did not end: for which exercise that was seen, and what was said.
        self._endless: dict[tuple[str, frozenset[tuple[str, str]]], tuple[str, WorkerLost]] = {}

    def verdict(self, code: Answers, exercise: Exercise) -> Verdict:
        """The verdict on an exercise."""
        seed = new_seed() if self.seed is None else self.seed
        self.workers.begin()  # it loads torch while this process does
        check_of(exercise)
        try:
            first = {**_first(code, exercise), "seconds": self.timeout}
            worker = self.workers.start(first, self.timeout, optimizer="optimizer" in exercise.given)
        except WorkerLost as lost:
            return Verdict(exercise.id, lost.status, lost.headline, died=True)
        try:
            case, texts = _Case(code, exercise, worker, seed), (exercise.module, frozenset(first["texts"].items()))
            asked, endless = self._endless.get(texts, ("", None))
            verdict = case.verdict(endless if asked != exercise.id else None)  # the same one is tried again
            if case.endless:
                self._endless[texts] = exercise.id, case.endless
            return verdict
        except Exception as error:  # what came back has parts, but no sense
            text = plain(f"{type(error).__name__}: {' '.join(str(error).split())}")[:_LONGEST]
            return Verdict(exercise.id, "error", "what came back is no answer that the check can read", text)
        finally:
            worker.close()


class _Case:
    """One exercise of one learner, with a worker that has loaded it."""

    def __init__(self, code: Answers, exercise: Exercise, worker: Worker, seed: int) -> None:
        self.exercise, self.worker, self.seed = exercise, worker, seed
        self.printed: str | None = None
        self.endless: WorkerLost | None = None
        self.read = {**worker.seen, "file": code.shown_as(exercise.module)}

    def verdict(self, endless: WorkerLost | None = None) -> Verdict:
        """Run the check, and look into what it found; endless is what came of loading these chapters before."""
        import torch

        from vitcourse.checking.check import Check
        from vitcourse.checking.naming import references
        from vitcourse.checking.subjects import CheckFailedError, Inputs

        if not self.read["started"]:
            return Verdict(self.exercise.id, "not-started", f"exercise {self.exercise.id} not started")
        if endless is not None:
            return self._lost(endless)
        number = zlib.crc32(f"{self.seed} {self.exercise.id}".encode())
        torch.set_num_threads(1)  # the tensors of a check are small
        check = Check(self.exercise, self.worker, references(), Inputs(number), self.read)
        try:
            if fault := self._load():
                return self._broken(fault)
            check_of(self.exercise)(check)
        except CheckFailedError as error:
            return self._failed(check, error, number)
        except WorkerLost as lost:
            return self._lost(lost)
        return self._says("passed", "passed")

    def _load(self) -> Any:
        try:
            return self.worker.load()
        except WorkerLost as lost:
            self.endless = lost if lost.status == "timeout" else None
            raise

    def _lost(self, lost: WorkerLost) -> Verdict:
        """What is known of code that ended its process, or didn't end: which line of it ran, where that was told."""
        from vitcourse.worker.protocol import TIME_OVER

        self.printed, _, stack = self.worker.printed().partition(f"\n{TIME_OVER}\n")
        at = re.search(rf'File "{re.escape(self.read["file"])}", line (\d+), in (\S+)', stack)
        where = [f"it was at {self.read['file']}, line {at[1]}, in {at[2]}"] if at and lost.status == "timeout" else []
        return self._says(lost.status, lost.headline, "\n".join([*self._lines("slips"), *where]), died=True)

    def _failed(self, check: Any, error: Any, number: int) -> Verdict:
        from vitcourse.checking.examples import onward, opinion
        from vitcourse.checking.findings import hint, stub_of, written_in
        from vitcourse.checking.naming import named

        status: Status = "error" if error.raised else "failed"
        self.printed = self.worker.printed()  # what is asked from here on is not the check's
        stub = stub_of(error.raised)
        if stub not in ("", self.exercise.id):  # blocked by that one: no cause is looked for, which takes a second
            return self._says(status, error.headline, stub=stub)
        run = check_of(self.exercise)
        slips, headline, misconception, found = self._lines("slips"), error.headline, "", ""
        naming, stated = None, self.read["stated"]
        if not slips:
            naming = named(self.exercise, check.questions, lambda: onward(run, check, number), stated)
        written = written_in(self.read, self.exercise) if naming is None or naming.kind != "list" else []
        if naming is not None and naming.kind != "list" and ((error.raised and error.diagnosis) or written):
            naming = None  # what the text itself shows, or what Python says, is surer than an edit
        if slips:
            headline, *lines = [*slips, error.headline, error.facts]
            misconception, found = next(iter(self.read["slips"])), "text"
        elif naming is None:
            lines = [error.diagnosis or hint(error.raised), *written, error.facts, *self._lines("remarks")]
        else:
            headline, misconception, found = naming.says, naming.name, naming.kind
            lines = [error.headline if error.raised else "", error.facts]
        with suppress(WorkerLost):  # it was seen to fail; this adds nothing
            lines.append(opinion(run, check, error, number))
        diagnosis = "\n".join(line for line in lines if line)
        return self._says(status, headline, diagnosis, misconception=misconception, found=found, stub=stub)

    def _broken(self, fault: Mapping[str, Any]) -> Verdict:
        from vitcourse.checking.findings import explained

        frame = fault["frames"][-1] if fault["frames"] else {"file": self.read["file"], "line": 0}
        where = f"{frame['file']}, line {frame['line']}" if frame["line"] else frame["file"]
        headline = f"{where}: {fault['type']}: {' '.join(fault['message'].split())}"
        _, diagnosis = explained("the chapter", fault, self.read, self.exercise)
        return self._says("error", headline, diagnosis, seed=0)  # it has met no inputs

    def _lines(self, kind: str) -> list[str]:
        """What the text shows, with its lines."""
        return [f"{says} (line {line})" for says, line in self.read[kind].items()]

    def _says(self, status: Status, headline: str, diagnosis: str = "", **more: Any) -> Verdict:
        said = self.worker.printed() if self.printed is None else self.printed
        if status != "passed" and (printed := said.strip().splitlines()):
            last = printed[-_LINES:]
            diagnosis = f"{diagnosis}\nit printed{', at the end' if last != printed else ''}:\n" + "\n".join(last)
        return Verdict(
            exercise=self.exercise.id,
            status=status,
            headline=plain(headline)[:_LONGEST],
            diagnosis=plain(diagnosis.strip())[:_LONGEST],
            around=tuple(self.read["around"]),
            file=self.read["file"],
            line=min([lines["lines"][0] for lines in self.read["definitions"].values()], default=0),
            **{"seed": self.seed, **more},
        )


def check_of(exercise: Exercise) -> Any:
    """The function that asks the questions of an exercise: the one with its mark in the chapter's tests."""
    for function in _checks(exercise.module):
        if exercise.id in [mark.args[0] for mark in function.pytestmark if mark.name == "exercise"]:
            return function
    raise LookupError(f"exercise {exercise.id} has no check")


def load_checks() -> None:
    """Import everything that a check needs, so that the first one is as quick as the others."""
    from vitcourse.checking import examples, naming  # noqa: F401

    for chapter in chapters():
        _checks(chapter.module)


@cache
def _checks(module: str) -> list[Any]:
    """The check functions of a chapter; its tests are loaded without running any."""
    if str(root()) not in sys.path:
        sys.path.insert(0, str(root()))
    with loading() if "torch" not in sys.modules else nullcontext():
        space = runpy.run_path(str(root() / "tests" / f"test_{module}.py"))
    return [function for function in space.values() if inspect.isfunction(function) and hasattr(function, "pytestmark")]


def plain(text: str) -> str:
    """Without control characters, which a terminal would obey, and halves of characters, which no file can hold."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _first(code: Answers, exercise: Exercise) -> dict[str, Any]:
    """What a worker is told first: the texts of the chapters and of what lies beside them, what may not be called."""
    texts, shown = code.texts()
    return {
        **{"texts": texts, "shown": shown, "module": exercise.module, "names": list(exercise.names)},
        **{"builds": list(exercise.builds), "fenced": fenced(), "stubs": stubs(code, exercise.module)},
        "chapters": [chapter.module for chapter in chapters()],
    }
