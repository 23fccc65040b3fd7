"""A folder of the user's own images: PATH/train/<class>/* and PATH/test/<class>/* (or val/), read as squares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path

from vitcourse.errors import RequestError, why
from vitcourse.files import printable
from vitcourse.images import Pixels, as_pixels, fitted, open_image

# What file managers, storage boxes and archives leave behind, beside hidden files.
_CLUTTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
_CLUTTER |= {"system volume information", "#recycle", "__pycache__"}


@dataclass
class Split:
    """One of the two parts of a folder, as read: images (1 or 3, S, S), their labels, and what could not be read."""

    folder: Path
    images: list[Pixels] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    cut: bool = False  # whether any image had another size or shape


def read_folder(root: Path, size: int) -> tuple[tuple[str, ...], Split, Split]:
    """The names of the classes, the images to learn from and those to test with, as squares of S pixels.

    Raises RequestError if the folders are not so, or a class is left without an image.
    """
    classes, folders = find_classes(root)
    with _unreadable_in_one_line(root):
        train, test = (_read_split(folder, classes, size) for folder in folders)
        return classes, train, test


def find_classes(root: Path) -> tuple[tuple[str, ...], tuple[Path, Path]]:
    """The names of the classes, and the folders of training and test images. Raises RequestError as read_folder."""
    with _unreadable_in_one_line(root):
        folders = _split_folders(root)
        return _classes(*folders), folders


@contextmanager
def _unreadable_in_one_line(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"can't read {printable(error.filename or root)}: {why(error)}") from error


def _split_folders(root: Path) -> tuple[Path, Path]:
    """The folders of training and test images; those who have no test/ often have a val/."""
    if not root.is_dir():
        raise RequestError(
            f"there is no folder {printable(root)}; --data folder:PATH needs one that holds train/ and test/"
        )
    test = root / ("val" if (root / "val").is_dir() and not (root / "test").is_dir() else "test")
    for folder in (root / "train", test):
        if not folder.is_dir():
            raise RequestError(
                f"{printable(root)} has no folder {folder.name}/; it needs train/<class>/ and test/<class>/"
            )
    return root / "train", test


def _classes(train: Path, test: Path) -> tuple[str, ...]:
    """The names of the classes, sorted: those of the folders in train/, which test/ must have too."""
    in_train, in_test = (
        {entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_clutter(entry)}
        for folder in (train, test)
    )
    if not in_train:
        raise RequestError(f"{printable(train)} has no class folders; put the images into train/<class>/")
    for has, lacks, names in ((train, test, in_train - in_test), (test, train, in_test - in_train)):
        if names:
            listed = ", ".join(printable(name) for name in sorted(names))
            raise RequestError(
                f"{printable(lacks)} has no folder for {listed}, as {has.name}/ has; both need the same classes"
            )
    if len(in_train) == 1:
        raise RequestError(
            f"{printable(train)} has only one class, {printable(*in_train)}; there is nothing to tell apart"
        )
    return tuple(sorted(in_train))


def _read_split(folder: Path, classes: tuple[str, ...], size: int) -> Split:
    """The images of a part as squares: the short side is resized to S pixels, the middle of the long one cut out."""
    split = Split(folder)
    for label, name in enumerate(classes):
        unread = []
        for path in filterfalse(_is_clutter, sorted((folder / name).iterdir())):
            try:
                image = open_image(path, 2 * size)
                square = as_pixels(fitted(image, (size, size)))
            except Exception as error:  # a broken file makes Pillow raise almost anything: SyntaxError, struct.error
                unread.append(f"{printable(path)}: {why(error)}")
            else:
                split.images.append(square)
                split.labels.append(label)
                split.cut |= image.size != (size, size)
        if label not in split.labels:
            example = f" ({unread[0]})" if unread else ""
            raise RequestError(f"{printable(folder / name)} holds no image that can be read{example}")
        split.skipped.extend(unread)
    return split


def _is_clutter(path: Path) -> bool:
    """Whether this is a hidden file or folder, or one that nobody put there."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER
