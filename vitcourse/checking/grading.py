"""Check a set of chapters: one verdict for each exercise, in the order of the course.

What an earlier exercise explains is blocked by it and not blamed; what stands on one that ended its process isn't run.
"""

from collections.abc import Sequence
from dataclasses import replace

from vitcourse.checking.judge import Judge, Status, Verdict
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercises
from vitcourse.errors import RequestError
from vitcourse.progress import is_started
from vitcourse.worker.chapters import parsed

FAILURES: tuple[Status, ...] = ("failed", "error", "timeout", "missing", "unreadable")


class Course:
    """One set of chapters on its way through the checks; verdicts holds what was found so far."""

    def __init__(self, code: CodeSet, judge: Judge) -> None:
        self.code, self.judge = code, judge
        self.verdicts: dict[str, Verdict] = {}

    def verdict(self, exercise: Exercise) -> Verdict:
        """The verdict on an exercise; those on the exercises that it stands on, where they are wanted, come first."""
        if exercise.id not in self.verdicts:
            self.verdicts[exercise.id] = self._placed(exercise, self._judged(exercise))
        return self.verdicts[exercise.id]

    def verdicts_on(self, chosen: Sequence[Exercise]) -> list[Verdict]:
        """The verdicts on these, after those on all that they stand on."""
        wanted = {exercise.id for entry in chosen for exercise in (*entry.all_needs, entry)}
        for exercise in exercises():
            if exercise.id in wanted and exercise.module not in self.code.use_solution:
                self.verdict(exercise)
        return [self.verdict(exercise) for exercise in chosen]

    def _absent(self, exercise: Exercise) -> Verdict | None:
        """What there is to say where nothing can be run."""
        if not self.code.file(exercise.module).exists():
            return Verdict(exercise.id, "missing", _missing(self.code, exercise.module))
        if not self._started(exercise):
            return Verdict(exercise.id, "not-started", f"exercise {exercise.id} not started")
        return None

    def _started(self, exercise: Exercise) -> bool:
        return self.code.name == "solutions" or is_started(self.code, exercise)

    def _judged(self, exercise: Exercise) -> Verdict:
        if absent := self._absent(exercise):
            return absent
        for needed in exercise.all_needs:
            known = self.verdicts.get(needed.id)
            if known is not None and known.died:
                return Verdict(exercise.id, "blocked", f"blocked by {needed.id}", stub=needed.id)
        verdict = self.judge.verdict(self.code, exercise)
        if verdict.status in FAILURES and (blocker := self._blocker(exercise, verdict)):
            return Verdict(exercise.id, "blocked", f"blocked by {blocker}", stub=blocker, around=verdict.around)
        return verdict

    def _blocker(self, exercise: Exercise, verdict: Verdict) -> str:
        """The earlier exercise, not done, that explains a failure."""
        for needed in exercise.all_needs:
            if needed.module in self.code.use_solution:
                continue
            known = self.verdicts.get(needed.id)
            if known is None and not self._started(needed):
                return needed.id
            if known is not None and known.status != "passed":
                return needed.id
        return verdict.stub if verdict.stub != exercise.id else ""

    def _placed(self, exercise: Exercise, verdict: Verdict) -> Verdict:
        file, line = place(self.code, exercise)
        label = self.code.label_for(exercise.module)
        headline = f"{verdict.headline} ({label})" if label else verdict.headline
        use_solution = self.code.use_solution
        return replace(verdict, file=file, line=line, headline=headline, use_solution=use_solution)


def _missing(code: CodeSet, module: str) -> str:
    file = code.file(module)
    there = sorted(path.name for path in file.parent.glob("*.py") if path.name.startswith(module))
    instead = f" (there is {', '.join(map(repr, there[:3]))})" if there else ""
    return f"{file.parent.name} has no {file.name}{instead}"


def grade(code: CodeSet, chosen: Sequence[Exercise], judge: Judge) -> list[Verdict]:
    """Check these exercises of the set, each with what it needs; the verdicts on them, in the order of the course.

    Exercises of a chapter that is the references' get no verdict.
    Raises RequestError when the course's folders are not beside the package, and when nothing is left to check.
    """
    chosen = [exercise for exercise in chosen if exercise.module not in code.use_solution]
    if not chosen:
        raise RequestError(
            f"{code.label}, nothing of yours is left to check; type another chapter, or no --use-solution"
        )
    return Course(code, judge).verdicts_on(chosen)


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
    body = parsed(code.source(exercise.module) or "").body
    lines = [node.lineno for node in body if getattr(node, "name", None) in exercise.names]
    return file, min(lines, default=0)
