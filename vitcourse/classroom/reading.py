"""What lies in a folder or a zip that somebody else made: names, and the texts of the Python files.

Nothing is unpacked, written or run. Regular files only, each read up to a size; links are followed within the folder.
A chapter is text in UTF-8, as it is for `check`.
"""

import io
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from vitcourse.codesets import LARGEST
from vitcourse.files import plain_text, printable

LARGEST_TEXTS = 8 * 2**20  # bytes of all texts of one submission
LARGEST_ZIP = 64 * 2**20  # bytes of a zip inside another
MOST = 5_000  # entries of one submission
DEEPEST = 12  # folders in folders
PYTHON = (".py", ".py.txt")
ZIP = (".zip",)
ARCHIVES = (*ZIP, ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
IGNORED = ("__pycache__", "__macosx", ".git", ".venv", "venv", "node_modules", ".ds_store", ".ipynb_checkpoints")


LEADS_OUT = "is a link that leads out of the submission; it isn't followed"


class UnreadableError(Exception):
    """Something can't be read. The message says what, in a few words."""


@dataclass(frozen=True)
class Entry:
    """One thing that was handed in: its path within the submission, and its text if it is a Python file.

    fault says why it can't be read: it is a folder, a link that leads out, a device, too large, no text. linked is the
    first part of the path to which it leads, if it is a link.
    """

    path: PurePosixPath
    fault: str = ""
    text: str = ""
    linked: str = ""

    def kept_in(self) -> "Entry":
        """Itself; with a fault, if it leads to what has another first name, as it does to another person's work."""
        return self if self.linked in ("", self.path.parts[0]) else Entry(self.path, LEADS_OUT)

    def is_called(self, endings: tuple[str, ...]) -> bool:
        """Whether its name ends like that."""
        return self.path.name.lower().endswith(endings)


Open = Callable[[], IO[bytes]]

# What a broken zip may raise.
_BROKEN: tuple[type[Exception], ...] = (
    *(OSError, EOFError, RuntimeError, ValueError, NotImplementedError, MemoryError),
    *(zlib.error, zipfile.BadZipFile),
)


def entries(place: Path) -> list[Entry]:
    """All that is in a folder or a zip, zips in it opened; what can't be read is an entry with its fault."""
    found: list[Entry] = []
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    walk, top, path = (_folder, place, "") if place.is_dir() else (_file, place.parent, place.name)
    for entry in walk(place, top.resolve(), PurePosixPath(path)):
        first = entry.path.parts[0]
        counts[first] += 1
        sizes[first] += len(entry.text)
        if sizes[first] > LARGEST_TEXTS and entry.text:
            entry = Entry(entry.path, "is too much, with all that was handed in beside it")
        if counts[first] <= MOST:
            found.append(entry)
        elif counts[first] == MOST + 1:
            found.append(Entry(PurePosixPath(first), f"holds more than {MOST} files; the rest was not looked at"))
    return found


def _folder(folder: Path, top: Path, path: PurePosixPath) -> Iterator[Entry]:
    if len(path.parts) > DEEPEST:
        yield Entry(path, "is a folder too deep")
        return
    try:
        names = sorted(place.name for place in folder.iterdir())
    except OSError as error:
        yield Entry(path if path.parts else PurePosixPath(folder.name), _reason(error))
        return
    for name in names:
        if name.lower() in IGNORED:
            continue
        place, below = folder / name, path / printable(name)
        if place.is_dir() and not place.is_symlink():
            yield Entry(below, "is a folder")
            yield from _folder(place, top, below)
        else:
            yield from _file(place, top, below)


def _file(place: Path, top: Path, path: PurePosixPath) -> Iterator[Entry]:
    """What a file on the disk holds, if it is a regular one."""
    linked = ""
    try:
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            place = Path(os.path.realpath(place))
            if not place.is_relative_to(top):
                yield Entry(path, LEADS_OUT)
                return
            linked = printable(next(iter(place.relative_to(top).parts), ""))
            mode = os.lstat(place).st_mode
    except (OSError, ValueError) as error:
        yield Entry(path, _reason(error))
        return
    if stat.S_ISREG(mode):
        yield from (replace(entry, linked=linked) for entry in _read(path, lambda: _stream(place), levels=3))
    else:
        yield Entry(path, f"is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")


_KINDS = {
    **{stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"},
    **{stat.S_IFDIR: "a link to a folder", stat.S_IFLNK: "a link"},
}


def _stream(place: Path) -> IO[bytes]:
    # Neither a link nor a pipe that has come into its place meanwhile is followed or waited for.
    number = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError("it is no file any more")
    return os.fdopen(number, "rb")


def _read(path: PurePosixPath, open_it: Open, levels: int, on_disk: bool = True) -> Iterator[Entry]:
    """The entry with its text, or what it holds if it is a zip, as deep as levels says."""
    entry = Entry(path)
    try:
        if entry.is_called(PYTHON):
            yield Entry(path, text=decoded(_limited(open_it, LARGEST)))
        elif entry.is_called(ZIP) and levels:
            with open_it() if on_disk else io.BytesIO(_limited(open_it, LARGEST_ZIP)) as content:
                # As a list: a zip that turns out to be broken is a sentence, and nothing of it is used.
                yield from list(_zipped(PurePosixPath(path.parent, without_suffix(path.name)), content, levels - 1))
        elif entry.is_called(ARCHIVES):
            yield Entry(path, "is an archive that can't be opened here; hand in a .zip")
        else:
            yield entry
    except UnreadableError as error:
        yield Entry(path, str(error))
    except _BROKEN as error:
        yield Entry(path, _reason(error, "opened" if entry.is_called(ZIP) else "read"))


def _limited(open_it: Open, most: int) -> bytes:
    with open_it() as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UnreadableError(f"is larger than {most // 2**20} MiB")
    return content


def _zipped(path: PurePosixPath, content: IO[bytes], levels: int) -> Iterator[Entry]:
    archive = zipfile.ZipFile(content)
    for info in archive.infolist()[: MOST + 1]:
        inner = path / _within(info.filename)
        if info.is_dir() or any(word.lower() in IGNORED for word in inner.parts):
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            yield Entry(inner, "is a link in an archive; it isn't followed")
        elif info.flag_bits & 1:
            yield Entry(inner, "is encrypted")
        else:
            yield from _read(inner, lambda info=info: archive.open(info), levels, on_disk=False)  # type: ignore[misc]


def _within(name: str) -> PurePosixPath:
    """A name in a zip, as a path that can't lead out."""
    parts = [part for part in printable(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return PurePosixPath(*parts[: DEEPEST + 2]) if parts else PurePosixPath("nameless")


def without_suffix(name: str) -> str:
    """An archive's name without what tells that it is one."""
    endings = [ending for ending in ARCHIVES if name.lower().endswith(ending)]
    ending = max(endings, key=len, default="")
    return name[: len(name) - len(ending)] or name


def _reason(error: BaseException, what: str = "read") -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"can't be {what}: {printable(' '.join(text.split())) or type(error).__name__}"[:200]


def decoded(content: bytes) -> str:
    """The text, as `check` reads it. Raises UnreadableError, which says where and what to do."""
    try:
        return plain_text(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"can't be read: line {line} holds a byte that is no UTF-8; save the file as UTF-8"
        ) from error
