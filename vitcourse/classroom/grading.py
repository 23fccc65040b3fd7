"""Grade a class: each submission in a box of its own, several at once, one row for each as soon as it is there.

What was graded is kept by its texts, the course and the check: the same command goes on where it was ended, and nothing
is graded twice.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from vitcourse.checking.grading import Course
from vitcourse.checking.judge import TIMEOUT, Judge, Status, Verdict, new_seed
from vitcourse.checking.state import course_hash
from vitcourse.checking.workers import Workers
from vitcourse.classroom.box import boxed
from vitcourse.classroom.layouts import Submission
from vitcourse.classroom.rows import Row, row
from vitcourse.course import Exercise, exercise
from vitcourse.errors import in_one_line
from vitcourse.files import read_json, write_atomically
from vitcourse.places import root
from vitcourse.stubs import pristine


@dataclass(frozen=True)
class Order:
    """What is to be graded, and how: the exercises' ids, the command of the box, the seed if one was typed."""

    ids: tuple[str, ...]
    box: tuple[str, ...]
    seed: int | None = None
    timeout: float = TIMEOUT

    def key(self, handed: Submission) -> str:
        """The name under which a row is kept."""
        parts = (handed.hash, handed.name, course_hash(), self.ids, bool(self.box), self.seed, self.timeout)
        return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


class Handed(Course):
    """A submission on its way through the checks. Its texts are never parsed in this process."""

    def __init__(self, code: Submission, judge: Judge) -> None:
        super().__init__(code, judge)  # type: ignore[arg-type]
        self.handed = code

    def _absent(self, exercise: Exercise) -> Verdict | None:
        module = exercise.module
        statuses: dict[Status, dict[str, str]] = {"unreadable": self.handed.unreadable, "missing": self.handed.missing}
        for status, why in statuses.items():
            if module in why:
                return Verdict(exercise.id, status, why[module], file=self.handed.shown_as(module))
        if self.handed.found[module] == pristine(module):
            return Verdict(exercise.id, "not-started", f"exercise {exercise.id} not started")
        return None

    def _started(self, exercise: Exercise) -> bool:
        return True

    def _placed(self, exercise: Exercise, verdict: Verdict) -> Verdict:
        return replace(verdict, file=verdict.file or self.handed.shown_as(exercise.module))


def grade(handed: Submission, order: Order, workers: Workers) -> Row:
    """The row of one submission."""
    since = time.monotonic()
    seed = new_seed() if order.seed is None else order.seed
    chosen = [exercise(id) for id in order.ids]
    about = {"seed": seed, "box": "bubblewrap" if order.box else "none", **_of_the_course()}
    try:
        verdicts = Handed(handed, Judge(workers, order.timeout, seed)).verdicts_on(chosen)
    except Exception as error:
        verdicts = _unjudged(chosen, f"the check itself failed: {type(error).__name__}: {in_one_line(error)}"[:500])
    return row(handed, verdicts, {**about, **_now(since)})


def _unjudged(chosen: Sequence[Exercise], why: str) -> list[Verdict]:
    return [Verdict(entry.id, "error", why) for entry in chosen]


def rows(handed: Sequence[Submission], order: Order, jobs: int) -> Iterator[tuple[int, Row]]:
    """Each submission's number and row, as they come; those that are kept from before come first."""
    left = []
    for number, one in enumerate(handed):
        if (known := _kept(order.key(one))) is not None:
            yield number, known
        else:
            left.append(number)
    if not left:
        return
    context = get_context("spawn")  # a fork would copy what torch's threads hold
    pool = ProcessPoolExecutor(min(jobs, len(left)), context, _begin)
    try:
        coming: dict[Future[Row], int] = {pool.submit(_grade_in_box, handed[number], order): number for number in left}
        for future in as_completed(coming):
            number = coming[future]
            try:
                made = future.result()
            except Exception as error:  # the process that graded is gone
                ended = _unjudged([exercise(id) for id in order.ids], f"the grader's own process ended: {error}")
                about = {"seed": 0, "box": "", **_of_the_course(), **_now(time.monotonic())}
                made = row(handed[number], ended, about)
            else:
                _keep(order.key(handed[number]), made)
            yield number, made
    finally:
        for process in list((pool._processes or {}).values()):
            with contextlib.suppress(OSError):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """In a process that grades: Ctrl-C is the business of the one above; the end of that one is this one's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threading.Thread(target=_follow, args=(parent_process(),), daemon=True).start()


def _follow(above: Any) -> None:
    above.join()
    os._exit(1)  # the box ends with this process


def _grade_in_box(handed: Submission, order: Order) -> Row:
    with boxed(order.box) as workers:
        return grade(handed, order, workers)


def _now(since: float) -> dict[str, Any]:
    return {
        "seconds": round(time.monotonic() - since, 2),
        "date": datetime.now().astimezone().isoformat("T", "seconds"),
    }


@cache
def _of_the_course() -> dict[str, str]:
    """The course's version, and its commit where it is a clone."""
    command = ["git", "-C", str(root()), "rev-parse", "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        said = ""
    return {"version": version("vitcourse"), "commit": said}


def kept_rows() -> Path:
    """Where rows are kept."""
    return Path(os.environ.get("VITCOURSE_GRADES") or user_cache_path("vitcourse") / "grades")


def _kept(key: str) -> Row | None:
    known = read_json(kept_rows() / f"{key}.json")
    return known if "verdicts" in known else None


def _keep(key: str, made: Row) -> None:
    with contextlib.suppress(OSError):  # a full disk costs the next run its time, and this one nothing
        kept_rows().mkdir(parents=True, exist_ok=True)
        write_atomically(kept_rows() / f"{key}.json", json.dumps(made))
