"""What lies in a folder or an archive that somebody else made: names first, and only what is wanted is read.

Nothing is unpacked, written or run. Regular files only, each read up to a size; links are followed within the folder.
A chapter's bytes become text by their mark, by the encoding that the first lines declare, or as UTF-8.
"""

import codecs
import io
import os
import stat
import tarfile
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vitcourse.files import printable

LARGEST = 2**20  # bytes of one text
LARGEST_ARCHIVE = 64 * 2**20  # bytes of an archive inside another, and of all that a tar file holds
MOST = 5_000  # entries of one submission
DEEPEST = 12  # folders in folders, and three archives in archives
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
OTHER_ARCHIVES = (".7z", ".rar")
ANY_ARCHIVE = (*ARCHIVES, *OTHER_ARCHIVES)
IGNORED = ("__pycache__", "__macosx", ".git", ".venv", "venv", "node_modules", ".ds_store", ".ipynb_checkpoints")


class UnreadableError(Exception):
    """Something can't be read. The message says what, in a few words."""


@dataclass(frozen=True)
class Entry:
    """One thing that was handed in: its path within the submission, and how its bytes are got.

    fault says why there are none: it is a folder, a link that leads out, a device, too large.
    """

    path: PurePosixPath
    fault: str = ""
    get: Callable[[int], bytes] = field(default=lambda _: b"", repr=False)
    opened: Callable[[], BinaryIO] | None = field(default=None, repr=False)  # for what lies on the disk, however large

    def read(self, most: int = LARGEST) -> bytes:
        """Its bytes. Raises UnreadableError."""
        if self.fault:
            raise UnreadableError(self.fault)
        try:
            content = self.get(most + 1)
        except _BROKEN as error:
            raise UnreadableError(_reason(error)) from error
        if len(content) > most:
            raise UnreadableError(f"is larger than {most // 2**20} MiB")
        return content


# What a broken archive may raise.
_BROKEN: tuple[type[Exception], ...] = (
    *(OSError, EOFError, RuntimeError, ValueError, NotImplementedError, MemoryError),
    *(zlib.error, zipfile.BadZipFile, tarfile.TarError),
)


def is_archive(name: str) -> bool:
    """Whether a file of this name holds others."""
    return name.lower().endswith(ARCHIVES)


def entries(place: Path) -> list[Entry]:
    """All that is in a folder or an archive, archives in it opened; what can't be read is an entry with its fault.

    Raises UnreadableError when the place itself can't be read.
    """
    found: list[Entry] = []
    inside = _folder(place, place.resolve(), PurePosixPath()) if place.is_dir() else _one(place)
    counts: Counter[str] = Counter()
    for entry in inside:
        for part in _opened(entry, 3):
            first = part.path.parts[0]
            counts[first] += 1
            if counts[first] <= MOST:
                found.append(part)
            elif counts[first] == MOST + 1:
                found.append(Entry(PurePosixPath(first), f"holds more than {MOST} files; the rest was not looked at"))
    return found


def _one(place: Path) -> Iterator[Entry]:
    entry = _file(place, place.parent.resolve(), PurePosixPath(place.name))
    if entry.fault:
        raise UnreadableError(entry.fault)
    if place.name.lower().endswith(OTHER_ARCHIVES):
        raise UnreadableError("is an archive of another kind; a folder or a .zip can be read")
    yield entry


def _folder(folder: Path, top: Path, path: PurePosixPath) -> Iterator[Entry]:
    if len(path.parts) > DEEPEST:
        yield Entry(path, "is a folder too deep")
        return
    try:
        names = sorted(place.name for place in folder.iterdir())
    except OSError as error:
        yield Entry(path, _reason(error))
        return
    for name in names:
        if name.lower() in IGNORED:
            continue
        place, below = folder / name, path / printable(name)
        try:
            is_folder = stat.S_ISDIR(os.lstat(place).st_mode)
        except OSError as error:
            yield Entry(below, _reason(error))
            continue
        if is_folder:
            yield Entry(below, "is a folder")
            yield from _folder(place, top, below)
        else:
            yield _file(place, top, below)


def _file(place: Path, top: Path, path: PurePosixPath) -> Entry:
    try:
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            place = Path(os.path.realpath(place))
            if not place.is_relative_to(top):
                return Entry(path, "is a link that leads out of the submission; it isn't followed")
            mode = os.lstat(place).st_mode
    except (OSError, ValueError) as error:
        return Entry(path, _reason(error))
    if not stat.S_ISREG(mode):
        return Entry(path, f"is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    return Entry(path, get=lambda most: _bytes(place, most), opened=lambda: _stream(place))


_KINDS = {
    **{stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"},
    **{stat.S_IFDIR: "a link to a folder", stat.S_IFLNK: "a link"},
}


def _bytes(place: Path, most: int) -> bytes:
    with _stream(place) as file:
        return file.read(most)


def _stream(place: Path) -> BinaryIO:
    # Neither a link nor a pipe that has come into its place meanwhile is followed or waited for.
    number = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError("it is no file any more")
    return os.fdopen(number, "rb")


def _opened(entry: Entry, levels: int) -> Iterator[Entry]:
    """The entry, or what it holds if it is an archive."""
    name = entry.path.name
    if entry.fault or not is_archive(name) or not levels:
        other = not entry.fault and name.lower().endswith(ANY_ARCHIVE)
        yield Entry(entry.path, "is an archive that can't be opened here; hand in a .zip") if other else entry
        return
    try:
        content = entry.opened() if entry.opened else io.BytesIO(entry.read(LARGEST_ARCHIVE))
        inside = list(_zipped(content) if name.lower().endswith(".zip") else _tarred(content))
    except UnreadableError as error:
        yield Entry(entry.path, str(error))
        return
    except _BROKEN as error:
        yield Entry(entry.path, f"can't be opened: {_reason(error)}")
        return
    stem = PurePosixPath(entry.path.parent, without_suffix(name))
    for part in inside:
        if not any(word.lower() in IGNORED for word in part.path.parts):
            yield from _opened(Entry(stem / part.path, part.fault, part.get), levels - 1)


def _zipped(content: BinaryIO) -> Iterator[Entry]:
    archive = zipfile.ZipFile(content)
    for info in archive.infolist()[: MOST + 1]:
        path, mode = _within(info.filename), info.external_attr >> 16
        if info.is_dir():
            continue
        if stat.S_ISLNK(mode):
            yield Entry(path, "is a link in an archive; it isn't followed")
        elif info.flag_bits & 1:
            yield Entry(path, "is encrypted")
        else:
            yield Entry(path, get=lambda most, info=info: _member(archive, info, most))  # type: ignore[misc]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(info) as file:
        return file.read(most)


def _tarred(content: BinaryIO) -> Iterator[Entry]:
    archive = tarfile.open(fileobj=content, mode="r:*")  # noqa: SIM115  # its members are read later
    left = LARGEST_ARCHIVE
    for count, info in enumerate(archive):
        left -= info.size
        if count > MOST or left < 0:
            raise UnreadableError("holds too much")
        path = _within(info.name)
        if info.isfile():
            held = archive.extractfile(info)
            assert held is not None
            yield Entry(path, get=held.read)
        elif not info.isdir():
            yield Entry(path, "is no regular file")


def _within(name: str) -> PurePosixPath:
    """A name in an archive, as a path that can't lead out."""
    parts = [part for part in printable(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return PurePosixPath(*parts[: DEEPEST + 2]) if parts else PurePosixPath("nameless")


def without_suffix(name: str) -> str:
    """An archive's name without what tells that it is one."""
    endings = [ending for ending in ANY_ARCHIVE if name.lower().endswith(ending)]
    ending = max(endings, key=len, default="")
    return name[: len(name) - len(ending)] or name


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"can't be read: {printable(' '.join(text.split())) or type(error).__name__}"[:200]


_MARKS: tuple[tuple[bytes, str], ...] = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)
_REFUSED = ("punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape")  # these are slow, or no encodings


def decoded(content: bytes) -> str:
    """The text, with lines that end as Python's do. Raises UnreadableError, which says where and what to do."""
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"can't be read: line {line} holds a byte that is no {encoding}; save the file as UTF-8"
        ) from error
    except (LookupError, ValueError) as error:
        raise UnreadableError(f"can't be read: {encoding} is no encoding of texts") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    lines = io.BytesIO(content[:4096].replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    try:
        name = tokenize.detect_encoding(lines.readline)[0]
    except SyntaxError as error:
        if "unknown encoding" in str(error):
            raise UnreadableError(f"can't be read: {error}; save the file as UTF-8") from error
        return "utf-8"  # the bad byte is in its first lines: decoding says where
    if codecs.lookup(name).name.replace("-", "_") in _REFUSED:
        raise UnreadableError(f"can't be read: {name} is no encoding of texts")
    return name
