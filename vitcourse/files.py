"""Files that a user asked for by name, files that are whole or not there, and files that may hold anything."""

import json
import os
import shlex
import shutil
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vitcourse.errors import RequestError


@contextmanager
def writing(path: Path, instead: str = "name a file in another folder") -> Iterator[None]:
    """Raises RequestError, with what to type instead, when the disk or the rights don't let the path be written.

    Nor is Python that stands there overwritten: it is a chapter, or something else that somebody wrote.
    """
    if path.suffix == ".py" and path.exists():
        raise RequestError(f"{path} is there already, and is Python, which is never overwritten; {instead}")
    try:
        yield
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and not path.parent.exists()
        why = _no_folder(path) if missing else error.strerror or error
        raise RequestError(f"can't write {path}: {why}; {instead}") from error


def require_writable(file: Path | None) -> None:
    """Raise RequestError now for a file that couldn't be written later, once the work is done; None is no file."""
    if file is not None:
        with writing(file):
            if fault := _refusal(file):
                raise OSError(fault)


def _refusal(file: Path) -> str:
    if file.is_dir():
        return "it is a folder"
    if file.exists():
        return "" if os.access(file, os.W_OK) else "it can't be written to"
    return unwritable(file.parent) if file.parent.is_dir() else _no_folder(file)


def _no_folder(file: Path) -> str:
    return f"there is no folder {file.parent}"


def require_ending(path: Path, ending: str, typed: str) -> None:
    """Raise RequestError for a file's name that ends otherwise, with what to type in its place."""
    if path.suffix != ending:
        raise RequestError(f"{path} doesn't end in {ending}; type: {typed} {quoted(with_ending(path, ending))}")


def require_output(path: Path | None, ending: str, typed: str) -> None:
    """Both, of a file that may be left out, or have no ending; one of another ending holds something else."""
    if path is not None and path.suffix:
        require_ending(path, ending, typed)
    require_writable(path)


def with_ending(path: Path, ending: str) -> Path:
    """A file's name with that ending; for a folder such as .. a file in it."""
    return path.with_suffix(ending) if path.name.strip(".") else path / f"FILE{ending}"


def quoted(path: Path) -> str:
    """A path as it is typed, spaces and all."""
    return shlex.quote(str(path))


def write_file(path: Path, content: str | bytes) -> None:
    """Write a text or bytes. Raises RequestError when the folder isn't there or can't be written."""
    with writing(path):
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_atomically(path: Path, content: str | bytes, *, follow: bool = True) -> None:
    """Write a file so that a reader, whenever it looks, sees either the old content or the new; its rights stay.

    A link stays, and leads to the new content, or else, without follow, makes room for it. A device or a pipe,
    /dev/stdout say, is written into.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve() if follow and path.is_symlink() else path
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(data)
        if path.exists():
            shutil.copymode(path, beside)
        # The name must not reach the disk before the content does.
        _sync(beside)
        beside.replace(path)
        if os.name == "posix":
            _sync(path.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def plain_text(content: bytes) -> str:
    """A text as Python reads it: no mark before it, and every line ends as Python's do. Raises UnicodeDecodeError."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def in_form_of(content: bytes | None, text: str) -> bytes:
    """A plain text with the mark and the line ends of what it replaces; that itself, where it says the same."""
    form = content or b""
    with suppress(UnicodeDecodeError):
        if plain_text(form) == text:
            return form
    ending = next((ending for ending in (b"\r\n", b"\n", b"\r") if ending in form), b"\n")
    return form[: len(BOM_UTF8) * form.startswith(BOM_UTF8)] + text.encode().replace(b"\n", ending)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder, there or still to be made, as far as rights tell; empty if it can."""
    # Where it is still to be made, it is its nearest ancestor that has to allow it.
    nearest = next((path for path in (folder, *folder.absolute().parents) if os.access(path, os.F_OK)), folder)
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} can't be written to"


def no_file(path: Path) -> str:
    """Why there is nothing to be read at a path; empty for a file."""
    if path.is_dir():
        return "it is a folder"
    if not path.exists():
        return "there is no such file"
    return "" if path.is_file() else "it is no file"  # a pipe would keep us waiting for ever


def printable(text: object) -> str:
    """A path or name as one printable line, whatever the bytes of the name are."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for all that can't be read, absurdly nested texts among it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def read_json(file: Path) -> dict[str, Any]:
    """The object that a JSON file holds; an empty one where there is none that can be read."""
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
