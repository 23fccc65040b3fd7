"""Images and labels as tensors: what `vitcourse train --data` names.

B batch size · C, H, W image channels, height, width · n, n' number of training and test images · S side of a square
image. Each loader imports what it needs (torch, torchvision, scikit-learn or Pillow) when it runs; importing this
module imports none of them.
"""

from __future__ import annotations

import os
import shlex
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.client import HTTPException
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.error import URLError

from vitcourse.errors import RequestError, suggestion, why
from vitcourse.files import printable
from vitcourse.places import package

if TYPE_CHECKING:
    from torch import Tensor

# By name, the pixels a side that the images have of their own. Those that are random are as ImageNet's would be: what a
# step costs doesn't depend on what the pixels show.
SIDES = {"digits": 8, "mnist": 28, "cifar10": 32, "random": 224}
CHOICES = (*SIDES, "folder:PATH")

# Larger squares are a slip of the finger far more often than a wish, and end in a machine out of memory.
LARGEST_IMAGE_SIZE = 1024
FOLDER_IMAGE_SIZE = 32

N_RANDOM_TRAIN, N_RANDOM_TEST, N_RANDOM_CLASSES = 1024, 128, 1000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, split for training and testing. Pixel values are float32 in [0, 1], labels int64."""

    name: str  # as asked for: "digits", "mnist", "cifar10", "folder:..."
    train_images: Tensor = field(repr=False)  # (n, C, H, W)
    train_labels: Tensor = field(repr=False)  # (n)
    test_images: Tensor = field(repr=False)  # (n', C, H, W)
    test_labels: Tensor = field(repr=False)  # (n')
    classes: tuple[str, ...]  # a label is an index into these names
    skipped: tuple[str, ...] = ()  # one line for each file that could not be read
    notes: tuple[str, ...] = ()  # what else was done that its owner may want to know
    resized_from: tuple[int, int] | None = None  # (H, W) of the images before they were resized, where they had one

    @property
    def channels(self) -> int:
        """C."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W), in pixels."""
        return self.train_images.shape[2], self.train_images.shape[3]

    @cached_property
    def mean(self) -> Tensor:
        """The mean of each channel over the training images, (C)."""
        return self.train_images.mean(dim=(0, 2, 3))

    @cached_property
    def std(self) -> Tensor:
        """The standard deviation of each channel over the training images, (C); 1 where a channel is constant."""
        std = self.train_images.std(dim=(0, 2, 3), correction=0)
        # Rounding leaves a constant channel a deviation of up to 1e-6; dividing by that would blow up noise.
        return std.masked_fill(std < 1e-5, 1.0)

    def hold_out(self, n: int) -> Dataset:
        """The last n training images as the test set, and the real test set dropped.

        For choosing hyper-parameters: a choice made on the real test labels would make the final accuracy too good.
        The training images are in a random order, so the last n are a fair sample.

        Raises RequestError unless 1 <= n < number of training images.
        """
        available = len(self.train_labels)
        if not 1 <= n < available:
            raise RequestError(
                f"can't hold out {n:,} of the {available:,} training images of {self.name}; "
                f"choose a number from 1 to {available - 1:,}"
            )
        return replace(
            self,
            train_images=self.train_images[:-n],
            train_labels=self.train_labels[:-n],
            test_images=self.train_images[-n:],
            test_labels=self.train_labels[-n:],
        )


def load_dataset(name: str, image_size: int | None = None) -> Dataset:
    """The data set of that name (see CHOICES), its images resized to image_size × image_size pixels if that is given.

    Without image_size the images keep their own size; those of a folder, which may differ, become 32 × 32, and random
    ones are 224 × 224.

    Raises RequestError, in one line, for whatever the user can mend: the name, the size, the files, the network.
    """
    require_data(name, image_size)
    if name.startswith("folder:"):
        return _load_folder(name, side_of(name, image_size))
    if name == "random":
        return _make_random(side_of(name, image_size))
    dataset = _load_digits() if name == "digits" else _load_torchvision(name)
    if image_size is None or dataset.image_size == (image_size, image_size):
        return dataset
    return replace(
        dataset,
        train_images=resized(dataset.train_images, image_size),
        test_images=resized(dataset.test_images, image_size),
        resized_from=dataset.image_size,
    )


def require_data(name: str, image_size: int | None) -> None:
    """Raise RequestError for what can be seen to be wrong before torch is loaded: a size, a name, a folder."""
    if image_size is not None and not 1 <= image_size <= LARGEST_IMAGE_SIZE:
        raise RequestError(f"an image size of {image_size} pixels won't do; choose from 1 to {LARGEST_IMAGE_SIZE}")
    if name.startswith("folder:"):
        from vitcourse.image_folder import find_classes

        find_classes(_folder_of(name))
    elif name not in SIDES:
        meant = f"did you mean folder:{name}?" if name and Path(name).is_dir() else suggestion(name, CHOICES)
        raise RequestError(f"there is no data called {name!r}; {meant}")


def side_of(name: str, image_size: int | None) -> int:
    """S, as it will be once the data is loaded."""
    return image_size or SIDES.get(name, FOLDER_IMAGE_SIZE)


def resized(images: Tensor, size: int) -> Tensor:
    """(n, C, H, W) -> (n, C, S, S), smoothed first where it shrinks, so that no detail turns into a false pattern."""
    from torch.nn.functional import interpolate

    return interpolate(images, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)


# Digits: inside scikit-learn


def _load_digits() -> Dataset:
    import numpy as np
    import torch

    # Read and not imported: that takes a second.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(file), dtype=np.float32, delimiter=",")  # (n + n', 65): pixels from 0 to 16, and the label
    # One split for everybody, whatever the seed of a run: accuracies of two runs can then be compared. It was made by
    # scikit-learn's train_test_split(..., test_size=0.2, stratify=labels, random_state=0).
    ordered = torch.from_numpy(rows[np.load(package() / "digits_order.npy")])
    images, labels = ordered[:, :-1].reshape(-1, 1, 8, 8) / 16, ordered[:, -1].long()
    n = 1437
    return Dataset("digits", images[:n], labels[:n], images[n:], labels[n:], tuple("0123456789"))


# Noise: for measuring how fast a model trains


def _make_random(size: int) -> Dataset:
    import torch

    generator = torch.Generator().manual_seed(0)

    def examples(n: int) -> tuple[Tensor, Tensor]:
        images = torch.rand(n, 3, size, size, generator=generator)
        return images, torch.randint(N_RANDOM_CLASSES, (n,), generator=generator)

    train, test = examples(N_RANDOM_TRAIN), examples(N_RANDOM_TEST)
    return Dataset("random", *train, *test, tuple(map(str, range(N_RANDOM_CLASSES))))


# MNIST and CIFAR-10: torchvision's downloads


@dataclass(frozen=True)
class Download:
    """Where torchvision keeps a data set, as paths below the data root."""

    wanted: str  # the archives in one short pattern, for messages
    archives: tuple[str, ...]  # what it downloads
    files: tuple[str, ...]  # what it unpacks them to, and reads
    megabytes: int  # of the archives

    def state(self, root: Path) -> Literal["unpacked", "packed", "missing"]:
        """Which of its files are there. Nothing is read, so a damaged file counts too."""
        if _all_there(root, self.files):
            return "unpacked"
        return "packed" if _all_there(root, self.archives) else "missing"

    def to_copy(self, root: Path) -> str:
        """What to type to have the archives in a folder where they can be unpacked."""
        source = shlex.quote(str(root / Path(self.wanted).parts[0]))
        copy = "~/vitcourse-data"
        return f"mkdir -p {copy} && cp -R {source} {copy} && chmod -R u+w {copy} && export VITCOURSE_DATA={copy}"


_MNIST_FILES = tuple(
    f"MNIST/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_CIFAR10_FILES = tuple(
    f"cifar-10-batches-py/{file}"
    for file in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
)

DOWNLOADS = {
    "mnist": Download("MNIST/raw/*.gz", tuple(f"{file}.gz" for file in _MNIST_FILES), _MNIST_FILES, 12),
    "cifar10": Download("cifar-10-python.tar.gz", ("cifar-10-python.tar.gz",), _CIFAR10_FILES, 170),
}


def data_root() -> Path:
    """The folder of the downloads: $VITCOURSE_DATA, else a folder in the user's cache. It need not exist."""
    chosen = os.environ.get("VITCOURSE_DATA")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111 - Path's own fails without such a user

    from platformdirs import user_cache_path  # not everywhere where one trains: a machine that is lent may lack it

    return user_cache_path("vitcourse")


def _load_torchvision(name: str) -> Dataset:
    import torch

    def examples(split: Any) -> tuple[Tensor, Tensor]:
        images = torch.as_tensor(split.data)  # (n, 28, 28) or (n, 32, 32, 3)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (n, C, H, W)
        return images.float().div_(255), torch.as_tensor(split.targets)  # 0 to 255 -> 0 to 1

    splits = _torchvision_splits(name)
    train, test = map(examples, splits)
    classes = (word.partition(" - ")[0] for word in splits[0].classes)  # MNIST's are "0 - zero" and so on
    return Dataset(name, *train, *test, tuple(classes))


def _torchvision_splits(name: str) -> tuple[Any, Any]:
    """The training and test set of torchvision's MNIST or CIFAR10, downloaded and unpacked if they have to be.

    Raises RequestError if that fails.
    """
    try:
        from torchvision import datasets
    except Exception as error:  # a torchvision that was made for another torch raises a RuntimeError here
        raise RequestError(f"torchvision can't be imported ({why(error)}); type: vitcourse doctor") from error
    dataset = getattr(datasets, name.upper())
    root, before = data_root(), socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds of each wait: behind some firewalls torchvision would wait for many minutes
    try:
        return dataset(root, train=True, download=True), dataset(root, train=False)
    # What torchvision raises for a file that was cut off in the middle depends on where it was cut.
    except (OSError, RuntimeError, ValueError, TypeError, IndexError, AssertionError, EOFError, HTTPException) as error:
        raise RequestError(_not_loaded(name, root, error)) from error
    finally:
        socket.setdefaulttimeout(before)


def _not_loaded(name: str, root: Path, error: Exception) -> str:
    """Why a download could not be used, and what to do about it, in one line."""
    download = DOWNLOADS[name]
    state = download.state(root)
    reason = why(error)
    # Python's errors about the network are OSErrors too.
    network = (URLError, ConnectionError, TimeoutError, ssl.SSLError)
    if isinstance(error, OSError) and not isinstance(error, network):
        if state == "packed":
            return f"can't unpack {name} in {root} ({reason}); type: {download.to_copy(root)}"
        return f"can't use {root} ({reason}); set VITCOURSE_DATA to a folder that you can write to"
    others = f"set VITCOURSE_DATA to a folder that holds {download.wanted}, or train on digits (--data digits)"
    if state == "missing":
        return f"{name} is not in {root} and can't be downloaded ({reason}); go online, or {others}"
    folder = (root / (download.archives if state == "packed" else download.files)[0]).parent
    if state == "unpacked" and _all_there(root, download.archives):
        return f"the unpacked files of {name} in {folder} are damaged ({reason}); delete them, but keep the archives"
    return f"the files of {name} in {folder} are damaged ({reason}); delete them and go online, or {others}"


# A folder of the user's own images


def _load_folder(name: str, size: int) -> Dataset:
    """The images of PATH/train and PATH/test (see image_folder.py): grey if every one is, else RGB."""
    import torch

    from vitcourse.image_folder import Split, read_folder

    root = _folder_of(name)
    classes, train, test = read_folder(root, size)
    channels = max(image.shape[0] for image in (*train.images, *test.images))

    def examples(split: Split) -> tuple[Tensor, Tensor]:
        # A grey image among coloured ones is its own red, green and blue.
        images = [torch.from_numpy(image).expand(channels, size, size) for image in split.images]
        return torch.stack(images), torch.tensor(split.labels)  # (n, C, S, S), (n)

    # The files come class by class. Shuffled, always in the same way, the last of them are a sample to hold out.
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
    notes = [f"{printable(root)} has no test/; its {test.folder.name}/ takes that place"] * (test.folder.name != "test")
    if train.cut or test.cut:
        notes.append(
            f"images are made squares of {size}×{size} pixels: the short side is resized, and the middle of the long "
            "one cut out; --image-size sets another size"
        )
    images, labels = examples(train)
    skipped = (*train.skipped, *test.skipped)
    return Dataset(name, images[order], labels[order], *examples(test), classes, skipped, tuple(notes))


def _folder_of(name: str) -> Path:
    where = name.removeprefix("folder:")
    if not where.strip():
        raise RequestError("folder: needs a path; type --data folder:PATH, where PATH holds train/ and test/")
    return Path(os.path.expanduser(where))  # a shell replaces ~ only at the start of a word  # noqa: PTH111


# Paths


def _all_there(root: Path, files: Iterable[str]) -> bool:
    try:
        return all((root / file).is_file() for file in files)
    except OSError:  # a folder that may not be looked into
        return False
