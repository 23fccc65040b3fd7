"""Putting stubs back without losing anything: each version of a chapter that is replaced is kept, and comes back.

A kept version is a file of its own, whole before it gets its name, whose name tells its number, its time, its chapter
and why it was replaced. So there is no list beside the files that could be lost or disagree with them.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vitcourse.codesets import CodeSet
from vitcourse.course import Chapter, Exercise, chapters
from vitcourse.definitions import NotReplaceableError, with_definitions
from vitcourse.errors import RequestError, RunError
from vitcourse.files import write_atomically
from vitcourse.places import CHAPTERS, holds_chapters
from vitcourse.stubs import pristine


@dataclass(frozen=True)
class Version:
    """A chapter's file as it was before it was replaced: why ("reset 1.3", "undo") and when."""

    number: int
    time: str
    module: str
    reason: str
    path: Path


def reset(code: CodeSet, what: str, asked: Sequence[Exercise], kept: Path) -> str:
    """Put the stubs of these exercises, all of one chapter, back into its file; what was done, in a few lines.

    what is the learner's word for them: "1.3" or "1". The file as it is goes into the folder `kept` first.
    Raises RequestError when one exercise can't be told from the rest of the file; a whole chapter always can. Raises
    RunError when the disk doesn't allow it; nothing is changed then.
    """
    chapter = next(chapter for chapter in chapters() if chapter.module == asked[0].module)
    whole = len(asked) == len(chapter.exercises)
    file = code.file(chapter.module)
    shown = code.shown(file)
    before = content(file)
    after, scope = _with_stubs(before, chapter, asked, whole, shown)
    if after == before:
        return f"{shown}: {scope} as it was given already; nothing was changed"
    version = replace(file, before, after, chapter.module, f"reset {what}", kept)
    if version is None:
        return f"{shown} was missing; its stubs are there again"
    return (
        f"{shown}: {scope} as it was given\n"
        f"your version of the file is kept as {near(version.path)}\nto get it back: vitcourse undo"
    )


def put(code: CodeSet, module: str, text: str, reason: str, kept: Path) -> None:
    """Let a chapter's file be this text; what it was is kept, for undo to bring back. Raises RunError as reset does."""
    file = code.file(module)
    before, after = content(file), text.encode("utf-8")
    if before != after:
        replace(file, before, after, module, reason, kept)


def undo(code: CodeSet, kept: Path) -> str:
    """Bring back the file that the last reset replaced, or, once that was undone, the one before; what was done.

    What stood there is kept too, and redo brings it back.
    Raises RequestError when there is nothing to undo, and RunError when the disk doesn't allow it.
    """
    undoable, redoable = _steps(kept)
    what = "nothing more to undo: all is" if redoable else "nothing to undo: nothing was reset so far, all is"
    return _back(code, kept, undoable, "undo", f"there is {what} as you wrote it")


def redo(code: CodeSet, kept: Path) -> str:
    """Take the last undo back; what was done. Raises as undo does."""
    return _back(code, kept, _steps(kept)[1], "redo", "there is nothing to redo: nothing was undone")


def _back(code: CodeSet, kept: Path, steps: list["Version"], word: str, nothing: str) -> str:
    """Take one step back, with word "undo" or "redo": one file, or all those that one update replaced."""
    said: list[str] = []
    begun = ""
    for step in reversed(steps):
        act = _act(step, kept)
        if said and (act != begun or not act.startswith("update")):
            break
        file = code.file(step.module)
        before, after = content(file), content(step.path)
        if after is None or before == after:
            continue  # as it was already
        version = replace(file, before, after, step.module, f"{word} {step.number}", kept)
        begun = act
        what = f"{act} of {step.time}" if word == "undo" else f"undo of {act}"
        said.append(f"{code.shown(file)} is again as it was before the {what}")
        if version is not None:
            said.append(f"  what stood there is kept as {near(version.path)}")
    if not said:
        raise RequestError(f"{nothing}; every version that was ever replaced is in {near(kept)}")
    return "\n".join([*said, f"to take that back: vitcourse {'redo' if word == 'undo' else 'undo'}"])


def _act(version: "Version", kept: Path) -> str:
    """What replaced a version in the first place, through all that was undone and redone since."""
    by_number = {str(other.number): other for other in versions(kept)}
    reason = version.reason
    while (parts := reason.partition(" "))[0] in ("undo", "redo") and parts[2] in by_number:
        reason = by_number[parts[2]].reason
    return reason


def _steps(kept: Path) -> tuple[list["Version"], list["Version"]]:
    """What undo can bring back, and what redo can, the next one last: the history, played once more."""
    undoable: list[Version] = []
    redoable: list[Version] = []
    for version in versions(kept):
        word, _, number = version.reason.partition(" ")
        if word not in ("undo", "redo"):
            undoable, redoable = [*undoable, version], []
            continue
        source, target = (undoable, redoable) if word == "undo" else (redoable, undoable)
        while source and number.isdecimal() and source[-1].number > int(number):
            source.pop()  # skipped, since the file was like it already
        if source:
            source.pop()
        target.append(version)
    return undoable, redoable


def versions(kept: Path) -> list[Version]:
    """Every version that was ever replaced, the latest last."""
    found = []
    for path in kept.glob("*.py") if kept.is_dir() else ():
        number, *words = path.stem.split(_BETWEEN)
        with contextlib.suppress(ValueError):  # a file of somebody else's
            start, module, reason = words
            time = datetime.strptime(start, _TIME)
            if not path.is_file() or module not in [chapter.module for chapter in chapters()]:
                continue
            found.append(Version(int(number), f"{time:%Y-%m-%d %H:%M:%S}", module, reason.replace("-", " "), path))
    return sorted(found, key=lambda version: (version.number, version.path.name))


_BETWEEN = "--"
_TIME = "%Y%m%dT%H%M%S.%f"


def _with_stubs(
    before: bytes | None, chapter: Chapter, asked: Sequence[Exercise], whole: bool, shown: str
) -> tuple[bytes, str]:
    """The new content of the file, and which part of it is pristine then, with its verb."""
    stub = pristine(chapter.module)
    scope = f"every exercise of chapter {chapter.number} is" if whole else f"exercise {asked[0].id} is"
    names = [name for exercise in asked for name in exercise.names]
    try:
        if before is None:
            raise NotReplaceableError("there is no such file")
        return with_definitions(before.decode("utf-8"), stub, names).encode("utf-8"), scope
    except (NotReplaceableError, UnicodeDecodeError) as error:
        if whole:
            return stub.encode("utf-8"), "it could not be read as Python, and now the whole file is"
        why = error if isinstance(error, NotReplaceableError) else "it is not a UTF-8 text file"
        raise RequestError(
            f"can't reset {asked[0].id} alone in {shown} ({why}); "
            f"mend that, or reset the whole chapter: vitcourse reset {chapter.number}"
        ) from error


def replace(file: Path, before: bytes | None, after: bytes, module: str, reason: str, kept: Path) -> Version | None:
    """Keep what stands there, then put the new content in its place; if either fails, all is as before."""
    with _disk_errors_in_one_line(kept):
        version = None if before is None else _keep(before, module, reason, kept)
    try:
        with _disk_errors_in_one_line(file):
            _write_synced(file.resolve(), after)
    except RunError:
        if version is not None:
            with contextlib.suppress(OSError):
                version.path.unlink()  # a copy of what still stands there
        raise
    return version


def _keep(content: bytes, module: str, reason: str, kept: Path) -> Version:
    kept.mkdir(parents=True, exist_ok=True)
    number = max((version.number for version in versions(kept)), default=0) + 1
    time = datetime.now()
    name = _BETWEEN.join([f"{number:04}", f"{time:{_TIME}}", module, reason.replace(" ", "-")])
    path = kept / f"{name}.py"
    _write_synced(path, content)
    return Version(number, f"{time:%Y-%m-%d %H:%M:%S}", module, reason, path)


def _write_synced(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; it keeps its rights."""
    mode = path.stat().st_mode if path.exists() else None
    write_atomically(path, content)
    if mode is not None:
        path.chmod(mode)


def content(file: Path) -> bytes | None:
    """What a file holds; None where there is none."""
    with _disk_errors_in_one_line(file):
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _disk_errors_in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"nothing was changed: {error.strerror or error} at {near(path)}; make room or give the rights, "
            "then type the same again"
        ) from error


def near(path: Path) -> str:
    """A path as seen from the folder in which .vitcourse and chapters lie."""
    for parent in path.parents:
        if holds_chapters(parent / CHAPTERS):
            return path.relative_to(parent).as_posix()
    return str(path)
