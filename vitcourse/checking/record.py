"""What the last checks said, kept so that `vitcourse status` is quick, and never shown for what it isn't.

A verdict is kept with a fingerprint of all that it rests on: the learner's chapters up to its own, the references, the
list of exercises, the checks, judge and worker, and the versions. Once any of these has changed, the verdict is stale.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from vitcourse.checking.judge import Verdict
from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import Exercise, chapters, exercises
from vitcourse.files import read_json, write_atomically
from vitcourse.given import given, note
from vitcourse.places import root, workplace
from vitcourse.progress import is_started
from vitcourse.stubs import pristine


def keep(code: CodeSet, verdicts: Sequence[Verdict], before: dict[str, str] | None = None) -> None:
    """Remember verdicts of the learner's chapters; for any other set, or a mixed one, nothing is written anywhere.

    before holds the fingerprints from before the check: when something was saved since, the verdicts are of no use.
    """
    if not code.is_own:
        return
    known = _load()
    current = fingerprints(code)
    if before not in (None, current):
        return
    for verdict, exercise in ((v, e) for v in verdicts for e in exercises() if e.id == v.exercise):
        known[exercise.id] = {"status": verdict.status, "fingerprint": current[exercise.module]}
    write_state("verdicts.json", known)
    if not given():  # in a clone: what a later `update` compares with
        with contextlib.suppress(OSError):
            note({chapter.module: pristine(chapter.module) for chapter in chapters()}, workplace())


def standing(code: CodeSet) -> list[tuple[Exercise, str]]:
    """Each exercise with its status: not-started, unchecked, stale, or what the last check said if that still holds."""
    known = _load()
    current = fingerprints(code)
    result = []
    for exercise in exercises():
        kept = known.get(exercise.id)
        if not is_started(code, exercise):
            status = "not-started"
        elif kept is None or kept["status"] == "not-started":
            status = "unchecked"
        elif kept["fingerprint"] != current[exercise.module]:
            status = "stale"
        else:
            status = kept["status"]
        result.append((exercise, status))
    return result


def at(code: CodeSet) -> Exercise | None:
    """The exercise that a learner is at: the first begun that hasn't passed yet, else the first not begun.

    One that had passed before something else in its chapter changed isn't it. None when all is done.
    """
    known = _load()
    now = standing(code)
    open_ones = [
        asked
        for asked, status in now
        if status not in ("passed", "not-started") and not (status == "stale" and known[asked.id]["status"] == "passed")
    ]
    return next(iter([*open_ones, *(asked for asked, status in now if status == "not-started")]), None)


def fingerprints(code: CodeSet) -> dict[str, str]:
    """For each chapter, a hash of all that a verdict on it rests on."""
    return {chapter.module: fingerprint(code, chapter.module) for chapter in chapters()}


def fingerprint(code: CodeSet, module: str) -> str:
    """A hash of all that a verdict on this chapter rests on."""
    digest = hashlib.sha256()
    reference = load_code("solutions")
    for chapter in chapters():
        for source in (code.source(chapter.module), reference.source(chapter.module)):
            digest.update((source or "").encode() + b"\0")
        if chapter.module == module:
            break
    package = Path(__file__).parents[1]
    judged = (file for room in ("checking", "worker") for file in sorted((package / room).glob("*.py")))
    for file in (root() / "tests" / f"test_{module}.py", package / "course.toml", *judged):
        digest.update(file.read_bytes() + b"\0")
    for name in ("torch", "einops"):
        with contextlib.suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}\0".encode())
    digest.update(python_version().encode())
    return digest.hexdigest()


def read_state(name: str) -> dict[str, Any]:
    """A file of the course's own notes on a learner; empty when there is none, or none that can be read."""
    return read_json(_folder() / name)


def write_state(name: str, state: dict[str, Any]) -> None:
    """Replace such a file, whole or not at all; a folder that can't be written is no reason to fail a check."""
    with contextlib.suppress(OSError):
        _folder().mkdir(exist_ok=True)
        write_atomically(_folder() / name, json.dumps(state, indent=1))


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
