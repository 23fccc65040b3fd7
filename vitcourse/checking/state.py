"""What the last checks said, kept so that `vitcourse status` is quick, and never shown for what it isn't.

A verdict is kept with a fingerprint of all that it rests on: the learner's chapters up to its own, the references, the
list of exercises, the checks, judge and worker, and the versions. Once any of these has changed, the verdict is stale.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from vitcourse.checking.grading import grade
from vitcourse.checking.judge import Judge, Verdict
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, chapters, exercise, exercises
from vitcourse.files import read_json, write_atomically
from vitcourse.places import package, root, workplace
from vitcourse.progress import is_started
from vitcourse.stubs import given, note, pristine


def checked(code: CodeSet, chosen: Sequence[Exercise], judge: Judge) -> list[Verdict]:
    """The verdicts on these exercises, which are remembered unless something was saved meanwhile. Raises as grade."""
    before = fingerprints(code)
    verdicts = grade(code, chosen, judge)
    if before == fingerprints(code):
        keep(code, verdicts)
    return verdicts


def keep(code: CodeSet, verdicts: Sequence[Verdict]) -> None:
    """Remember verdicts of the learner's chapters; for any other set, or a mixed one, nothing is written anywhere."""
    if not code.is_own:
        return
    known, current = _load(), fingerprints(code)
    for verdict in verdicts:
        module = exercise(verdict.exercise).module
        known[verdict.exercise] = {"status": verdict.status, "fingerprint": current[module]}
    write_state("verdicts.json", known)
    if not given():  # in a clone: what a later `update` compares with
        with contextlib.suppress(OSError):
            note({chapter.module: pristine(chapter.module) for chapter in chapters()}, workplace())


def standing(code: CodeSet) -> list[tuple[Exercise, str]]:
    """Each exercise with its status: not-started, unchecked, stale, or what the last check said if that still holds.

    Those of a chapter whose file isn't there are missing.
    """
    known = _load()
    current = fingerprints(code)
    result = []
    for asked in exercises():
        kept = known.get(asked.id)
        if code.source(asked.module) is None:
            status = "missing"
        elif not is_started(code, asked):
            status = "not-started"
        elif kept is None or kept["status"] == "not-started":
            status = "unchecked"
        elif kept["fingerprint"] != current[asked.module]:
            status = "stale"
        else:
            status = kept["status"]
        result.append((asked, status))
    return result


def at(code: CodeSet) -> Exercise | None:
    """The exercise that a learner is at: the first begun that hasn't passed yet, else the first not begun.

    One that had passed before something else in its chapter changed isn't it. None when all is done.
    """
    known = _load()
    now = standing(code)
    open_ones = [
        each
        for each, status in now
        if status not in ("passed", *_NOT_BEGUN) and not (status == "stale" and known[each.id]["status"] == "passed")
    ]
    return next(iter([*open_ones, *(asked for asked, status in now if status in _NOT_BEGUN)]), None)


_NOT_BEGUN = ("not-started", "missing")


def fingerprints(code: CodeSet) -> dict[str, str]:
    """For each chapter, a hash of all that a verdict on it rests on: the course, and the chapters up to it."""
    digest, found = hashlib.sha256(course_hash().encode()), {}
    for chapter in chapters():
        digest.update((code.source(chapter.module) or "").encode() + b"\0")
        found[chapter.module] = digest.hexdigest()
    return found


@cache
def course_hash() -> str:
    """A hash of all of the course that a verdict rests on: references, checks, judge and worker, and the versions."""
    digest = hashlib.sha256(python_version().encode())
    for name in ("torch", "einops", "vitcourse"):
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}\0".encode())
    rooms = [file for room in ("checking", "worker") for file in (package() / room).rglob("*")]
    files = [package() / "course.toml", *(file for file in rooms if file.suffix in (".py", ".toml"))]
    for file in sorted([*files, *(root() / "solutions").glob("*.py"), *(root() / "tests").glob("test_ch*.py")]):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def read_state(name: str) -> dict[str, Any]:
    """A file of the course's own notes on a learner; empty when there is none, or none that can be read."""
    return read_json(_folder() / name)


def write_state(name: str, state: dict[str, Any]) -> None:
    """Replace such a file, whole or not at all; a folder that can't be written is said, and fails no check."""
    try:
        _folder().mkdir(exist_ok=True)
        write_atomically(_folder() / name, json.dumps(state, indent=1))
    except OSError as error:
        why = error.strerror or error
        print(
            f"vitcourse: this can't be remembered ({why}): make room or give the rights in {_folder()}", file=sys.stderr
        )


def kept_folder() -> Path:
    """Where every version of a chapter stays that was ever replaced."""
    return _folder() / "kept"


def _folder() -> Path:
    return workplace() / ".vitcourse"


def _load() -> dict[str, Any]:
    known = read_state("verdicts.json")
    return {
        id: kept for id, kept in known.items() if isinstance(kept, dict) and {"status", "fingerprint"} <= kept.keys()
    }
