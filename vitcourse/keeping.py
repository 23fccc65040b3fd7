"""Putting stubs back without losing anything: each version of a chapter that is replaced is kept, and comes back.

A kept version is a file of its own, whole before it gets its name, whose name tells its number, its time, its chapter,
whether undo can bring it back ("undo", or "past") and why it was replaced. So there is no list beside the files that
could be lost or disagree with them.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vitcourse.codesets import CodeSet, leads_astray
from vitcourse.course import Chapter, Exercise, chapters
from vitcourse.definitions import NotReplaceableError, definitions, with_definitions, with_imports
from vitcourse.errors import RequestError, RunError
from vitcourse.files import in_form_of, plain_text, write_atomically
from vitcourse.places import CHAPTERS, holds_chapters
from vitcourse.stubs import pristine
from vitcourse.worker.started import definitions as bindings

UNDO, PAST = "undo", "past"


@dataclass(frozen=True)
class Version:
    """A chapter's file as it was before it was replaced: when, why ("reset 1.3"), whether undo can bring it back."""

    number: int
    time: datetime
    module: str
    stack: str
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
    shown, before = code.shown_as(chapter.module), content(code.file(chapter.module))
    after, scope = _with_stubs(before, chapter, asked, whole, shown)
    version = put(code, chapter.module, after, f"reset {what}", kept)
    if before is None:
        return f"{shown} was missing; its stubs are there again"
    if version is None:
        return f"{shown}: {scope} as it was given already; nothing was changed"
    return (
        f"{shown}: {scope} as it was given\n"
        f"your version of the file is kept as {near(version.path)}\nto get it back: vitcourse undo"
    )


def put(code: CodeSet, module: str, text: str, reason: str, kept: Path) -> Version | None:
    """Let a chapter's file hold this text, in the form that the file has: its mark, its line ends.

    What it held is kept, for undo to bring back. None where nothing had to be kept. Raises RunError as reset does.
    """
    file = code.file(module)
    before = content(file)
    after = in_form_of(before, text)
    return None if before == after else _replaced(file, before, after, module, UNDO, reason, kept)


def undo(code: CodeSet, kept: Path) -> str:
    """Bring back what the last reset, answer or update replaced, or, once that was undone, the one before it.

    One update is one step, of however many files. What stood there is kept too. Returns what was done.
    Raises RequestError when there is nothing to undo, and RunError when the disk doesn't allow it.
    """
    said: list[str] = []
    act = ""
    for step in reversed([version for version in versions(kept) if version.stack == UNDO]):
        if said and not (step.reason == act and act.startswith("update")):
            break
        file = code.file(step.module)
        before, after = content(file), content(step.path)
        if after is not None and before != after:  # else it is as it was already
            version = _replaced(file, before, after, step.module, PAST, step.reason, kept)
            act = step.reason
            said.append(f"{code.shown(file)} is again as it was before {act} ({step.time:%Y-%m-%d %H:%M:%S})")
            if version is not None:
                said.append(f"  what stood there is kept as {near(version.path)}")
        name = step.path.name.replace(f"{_BETWEEN}{UNDO}{_BETWEEN}", f"{_BETWEEN}{PAST}{_BETWEEN}")
        with _disk_errors_in_one_line(step.path):
            step.path.rename(step.path.with_name(name))
    if not said:
        known = f"; every version that was ever replaced is in {near(kept)}" if versions(kept) else ""
        raise RequestError(f"there is nothing to undo: all is as you wrote it{known}")
    return "\n".join(said)


def versions(kept: Path) -> list[Version]:
    """Every version that was ever replaced, the latest last."""
    found = []
    for path in kept.glob("*.py") if kept.is_dir() else ():
        number, *words = path.stem.split(_BETWEEN)
        with contextlib.suppress(ValueError):  # a file of somebody else's
            start, module, stack, reason = words
            time = datetime.strptime(start, _TIME)
            if not path.is_file() or module not in [chapter.module for chapter in chapters()]:
                continue
            found.append(Version(int(number), time, module, stack, reason.replace("-", " "), path))
    return sorted(found, key=lambda version: (version.number, version.path.name))


_BETWEEN = "--"
_TIME = "%Y%m%dT%H%M%S.%f"


def _with_stubs(
    before: bytes | None, chapter: Chapter, asked: Sequence[Exercise], whole: bool, shown: str
) -> tuple[str, str]:
    """The new content of the file, and which part of it is pristine then, with its verb."""
    stub = pristine(chapter.module)
    scope = f"every exercise of chapter {chapter.number} is" if whole else f"exercise {asked[0].id} is"
    names = [name for exercise in asked for name in exercise.names]
    try:
        if before is None:
            raise NotReplaceableError("there is no such file")
        after = with_definitions(plain_text(before), stub, names)
        return _completed(after, stub, chapter if whole else None), scope
    except (NotReplaceableError, UnicodeDecodeError) as error:
        if whole:
            return stub, "it could not be read as Python, and now the whole file is"
        why = error if isinstance(error, NotReplaceableError) else "it is not a UTF-8 text file"
        raise RequestError(
            f"can't reset {asked[0].id} alone in {shown} ({why}); "
            f"mend that, or reset the whole chapter: vitcourse reset {chapter.number}"
        ) from error


def _completed(text: str, stub: str, chapter: Chapter | None) -> str:
    """The text with what its stubs need and somebody deleted: imports, and, of a whole chapter, what was given."""
    if chapter is not None:
        written = {name for exercise in chapter.exercises for name in exercise.names}
        gone = [name for name in definitions(stub) if name not in written and name not in bindings(text)]
        text = with_definitions(text, stub, gone)
    return with_imports(text, stub, before=stub)


def _replaced(
    file: Path, before: bytes | None, after: bytes, module: str, stack: str, reason: str, kept: Path
) -> Version | None:
    """Keep what stands there, then put the new content in its place. If either fails, all is as before."""
    with _disk_errors_in_one_line(kept):
        version = None if before is None else _keep(before, module, stack, reason, kept)
    try:
        with _disk_errors_in_one_line(file):
            write_atomically(file, after, follow=not leads_astray(file))
    except RunError:
        if version is not None:
            with contextlib.suppress(OSError):
                version.path.unlink()  # a copy of what still stands there
        raise
    return version


def _keep(content: bytes, module: str, stack: str, reason: str, kept: Path) -> Version:
    kept.mkdir(parents=True, exist_ok=True)
    number = max((version.number for version in versions(kept)), default=0) + 1
    time = datetime.now()
    name = _BETWEEN.join([f"{number:04}", f"{time:{_TIME}}", module, stack, reason.replace(" ", "-")])
    path = kept / f"{name}.py"
    write_atomically(path, content)
    return Version(number, time, module, stack, reason, path)


def content(file: Path) -> bytes | None:
    """What a file holds; None where there is none. Raises RunError for a folder, say, or a pipe."""
    if file.exists() and not file.is_file():
        raise RunError(f"nothing was changed: {near(file)} is no file; move it away, then type the same again")
    if leads_astray(file) == "nothing":
        return None
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
        room = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
        advice = "make room or give the rights" if room else "move away what stands there"
        raise RunError(
            f"nothing was changed: {error.strerror or error} at {near(path)}; {advice}, then type the same again"
        ) from error


def near(path: Path) -> str:
    """A path as seen from the folder in which .vitcourse and chapters lie."""
    for parent in path.parents:
        if holds_chapters(parent / CHAPTERS):
            return path.relative_to(parent).as_posix()
    return str(path)
