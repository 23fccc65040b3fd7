"""`vitcourse.data`: each data set's shapes, values and splits, and one clear line for whatever can go wrong."""

import gzip
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from vitcourse.data import DOWNLOADS, Dataset, data_root, load_dataset
from vitcourse.errors import RequestError

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def refusal(name: str, image_size: int | None = None) -> str:
    """The message with which a request is refused."""
    with pytest.raises(RequestError) as caught:
        load_dataset(name, image_size)
    message = str(caught.value)
    assert "\n" not in message
    return message


def save(path: Path, colour: object = 128, size: tuple[int, int] = (6, 4), mode: str = "L", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of one grey image each, in train/ and test/."""
    for split in ("train", "test"):
        save(tmp_path / split / "cat" / "1.png", 0)
        save(tmp_path / split / "dog" / "1.png", 255)
    return tmp_path


def image_of(folder: Path, size: int = 4) -> torch.Tensor:
    """The image, (C, size, size), of the one file test/cat/1.*."""
    return load_dataset(f"folder:{folder}", size).test_images[0]


def replace_image(folder: Path, image: Image.Image, name: str = "1.png", **options: object) -> None:
    (folder / "test" / "cat" / "1.png").unlink()
    image.save(folder / "test" / "cat" / name, **options)


# The record


def tiny() -> Dataset:
    images = torch.arange(5 * 2 * 3 * 7).reshape(5, 2, 3, 7) / (5 * 2 * 3 * 7)
    labels = torch.arange(5) % 2
    return Dataset("tiny", images, labels, torch.zeros(4, 2, 3, 7), torch.ones(4).long(), ("a", "b"))


def test_size_and_channels_are_those_of_the_images() -> None:
    assert tiny().image_size == (3, 7)
    assert tiny().channels == 2


def test_mean_and_std_are_of_each_channel_of_the_training_images() -> None:
    dataset = tiny()
    channel = dataset.train_images[:, 1].numpy()
    assert dataset.mean.shape == dataset.std.shape == (2,)
    assert dataset.mean[1].item() == pytest.approx(channel.mean(), abs=1e-6)
    assert dataset.std[1].item() == pytest.approx(channel.std(), abs=1e-6)


def test_std_of_a_constant_channel_is_one() -> None:
    dataset = tiny()
    dataset.train_images[:, 0] = 0.7  # a value that float32 can't hold exactly
    assert dataset.std[0] == 1
    assert 0 < dataset.std[1] < 1


def test_hold_out_tests_on_the_last_training_images_and_drops_the_test_set() -> None:
    dataset = tiny()
    mean = dataset.mean
    held = dataset.hold_out(2)
    assert torch.equal(held.train_images, dataset.train_images[:3])
    assert torch.equal(held.train_labels, dataset.train_labels[:3])
    assert torch.equal(held.test_images, dataset.train_images[3:])
    assert torch.equal(held.test_labels, dataset.train_labels[3:])
    assert held.classes == dataset.classes
    assert mean[0] > held.mean[0], "its mean is taken anew, of images that grow brighter"


def test_hold_out_refuses_what_leaves_nothing() -> None:
    for n in (-1, 0, 5, 6):
        with pytest.raises(RequestError, match=r"from 1 to 4"):
            tiny().hold_out(n)
    assert [len(tiny().hold_out(n).test_labels) for n in (1, 4)] == [1, 4]


# Requests


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *(("minst", "did you mean mnist?"), ("MNIST", "did you mean mnist?"), ("digit", "did you mean digits?")),
        *(("cifar-10", "did you mean cifar10?"), ("folder", "did you mean folder:PATH?")),
        *((name, "type one of: digits, mnist, cifar10, random, folder:PATH") for name in ("imagenet", "")),
        *((name, "needs a path") for name in ("folder:", "folder: ")),
        *((f"folder:{path}", path) for path in ("/nowhere/at/all", "~nobody-of-this-name/images", "x" * 5000)),
    ],
)
def test_a_name_that_names_no_data_is_told_what_it_could_be(name: str, said: str) -> None:
    assert said in refusal(name)


def test_a_path_without_folder_is_understood(folder: Path) -> None:
    assert f"did you mean folder:{folder}?" in refusal(str(folder))


@pytest.mark.parametrize("size", [0, -3, 100_000])
@pytest.mark.parametrize("name", ["digits", "folder:/nowhere"])
def test_an_impossible_image_size_is_refused(name: str, size: int) -> None:
    assert str(size) in refusal(name, size)


# Digits


def test_digits_are_scikit_learns_split_by_class_four_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    monkeypatch.setitem(sys.modules, "sklearn", None)  # they are read without it
    digits = load_dataset("digits")
    ours = (digits.train_images, digits.test_images, digits.train_labels, digits.test_labels)
    for tensor, array, n in zip(ours, split, (1437, 360, 1437, 360), strict=True):
        assert len(tensor) == n
        assert np.array_equal(tensor.flatten(1) * 16 if tensor.ndim > 1 else tensor, array)
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.train_images.dtype == torch.float32
    assert digits.train_labels.dtype == torch.int64
    assert digits.classes == tuple("0123456789")


def test_digits_are_resized_on_request() -> None:
    small, large = load_dataset("digits", 4), load_dataset("digits", 13)
    assert small.train_images.shape == (1437, 1, 4, 4)
    assert large.test_images.shape == (360, 1, 13, 13)
    for dataset in (small, large):
        assert dataset.train_images.min() >= 0
        assert dataset.train_images.max() <= 1


def test_shrinking_is_antialiased() -> None:
    """As in Pillow, whose bilinear filter always is."""
    own, small = load_dataset("digits"), load_dataset("digits", 3)
    for image, expected in zip(small.test_images[:5, 0], own.test_images[:5, 0], strict=True):
        pillow = Image.fromarray(expected.numpy()).resize((3, 3), Image.Resampling.BILINEAR)
        assert torch.allclose(image, torch.from_numpy(np.array(pillow)), atol=1e-5)


def test_its_own_size_leaves_the_images_as_they_are() -> None:
    assert torch.equal(load_dataset("digits", 8).test_images, load_dataset("digits").test_images)


# MNIST and CIFAR-10, in small: the real loaders, files and checksums, with a few images


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in MNIST's file format."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, and no network."""
    import torchvision.datasets.utils

    def offline(*_: object, **__: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", offline)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", offline)
    monkeypatch.setenv("VITCOURSE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five training images and three test images, packed as MNIST is; returns the folder of the archives."""
    from torchvision.datasets import MNIST

    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part, n in (("train", 5), ("t10k", 3)):
        pixels = np.full((n, 28, 28), 51, np.uint8) * np.arange(n, dtype=np.uint8)[:, None, None]
        for kind, array in (("images-idx3", pixels), ("labels-idx1", np.arange(n, dtype=np.uint8) + 4)):
            archive = raw / f"{part}-{kind}-ubyte.gz"
            archive.write_bytes(gzip.compress(idx(array)))
            resources.append((archive.name, md5(archive.read_bytes())))
    monkeypatch.setattr(MNIST, "resources", resources)
    return raw


@pytest.fixture
def cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images in each of CIFAR-10's files, unpacked; returns their folder."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return md5((folder / name).read_bytes())

    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    pixels[:, 1, :, 5] = 255  # a green line down column 5
    batch = {"data": pixels.reshape(2, -1), "labels": [3, 7]}
    names = [file.split("/")[1] for file in DOWNLOADS["cifar10"].files]
    monkeypatch.setattr(CIFAR10, "train_list", [[name, write(name, batch)] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, write(name, batch)] for name in names[5:6]])
    checksum = write(names[6], {"label_names": [f"class {label}" for label in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": names[6], "key": "label_names", "md5": checksum})
    return folder


def test_mnist_is_unpacked_and_scaled(mnist: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("mnist")
    assert dataset.train_images.shape == (5, 1, 28, 28)
    assert dataset.test_images.shape == (3, 1, 28, 28)
    assert dataset.train_images[:, 0, 9, 4].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert dataset.train_labels.tolist() == [4, 5, 6, 7, 8]
    assert dataset.test_labels.tolist() == [4, 5, 6]
    assert dataset.train_images.dtype == torch.float32
    assert dataset.train_labels.dtype == torch.int64
    assert dataset.classes == tuple("0123456789")
    assert load_dataset("mnist", 14).test_images.shape == (3, 1, 14, 14)
    assert capfd.readouterr() == ("", "")


def test_random_images_are_noise_of_any_size_and_always_the_same() -> None:
    dataset, again = load_dataset("random", 7), load_dataset("random", 7)
    assert dataset.train_images.shape == (1024, 3, 7, 7)
    assert torch.equal(dataset.train_images, again.train_images)
    assert torch.equal(dataset.test_labels, again.test_labels)
    assert len(dataset.classes) == 1000 > int(dataset.train_labels.max()) > 900
    assert dataset.mean.tolist() == pytest.approx([0.5] * 3, abs=0.01)


def test_cifar10_has_its_channels_first_and_its_own_class_names(cifar10: Path) -> None:
    dataset = load_dataset("cifar10")
    assert dataset.train_images.shape == (10, 3, 32, 32)
    assert dataset.train_images.is_contiguous()
    assert dataset.test_labels.tolist() == [3, 7]
    assert dataset.classes[3] == "class 3"
    assert dataset.test_images[0, 1, :, 5].eq(1).all()
    assert dataset.test_images.sum() == 2 * 32


@pytest.mark.parametrize(("name", "wanted"), [("mnist", "MNIST/raw/*.gz"), ("cifar10", "cifar-10-python.tar.gz")])
def test_without_network_the_message_says_what_to_do(root: Path, name: str, wanted: str) -> None:
    message = refusal(name)
    assert f"{name} is not in {root}" in message
    assert "Name or service not known" in message
    assert f"VITCOURSE_DATA to a folder that holds {wanted}" in message
    assert "--data digits" in message


def test_a_torchvision_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    message = refusal("mnist")
    assert "torchvision can't be imported" in message
    assert "vitcourse doctor" in message


def test_a_connection_that_breaks_is_no_matter_of_local_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.datasets.utils

    def breaks(*_: object, **__: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", breaks)
    message = refusal("mnist")
    assert "can't be downloaded (Connection reset by peer)" in message


def test_the_wait_for_the_network_is_limited_and_only_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    import torchvision.datasets.utils

    limits = []

    def note(*_: object, **__: object) -> None:
        limits.append(socket.getdefaulttimeout())
        raise URLError("offline")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", note)
    refusal("cifar10")
    assert limits == [30]
    assert socket.getdefaulttimeout() is None


def test_a_damaged_archive_is_said_to_be_damaged(mnist: Path) -> None:
    (mnist / "t10k-images-idx3-ubyte.gz").write_bytes(b"cut off")
    message = refusal("mnist")
    assert f"the files of mnist in {mnist} are damaged" in message
    assert "--data digits" in message


def test_a_damaged_archive_of_cifar10_is_said_to_be_damaged(root: Path) -> None:
    root.mkdir()
    (root / "cifar-10-python.tar.gz").write_bytes(b"cut off")
    assert f"the files of cifar10 in {root} are damaged" in refusal("cifar10")


@pytest.mark.parametrize("kept", [0, 3, 10, 100])
def test_an_unpacked_file_that_was_cut_off_can_be_unpacked_again(mnist: Path, kept: int) -> None:
    load_dataset("mnist")
    cut = mnist / "t10k-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:kept])
    message = refusal("mnist")
    assert f"the unpacked files of mnist in {mnist} are damaged" in message
    assert "delete them, but keep the archives" in message
    for file in mnist.glob("*-ubyte"):
        file.unlink()
    assert len(load_dataset("mnist").test_labels) == 3


def test_a_damaged_batch_of_cifar10_is_found_by_its_checksum(cifar10: Path) -> None:
    (cifar10 / "data_batch_4").write_bytes(b"cut off")
    assert f"the files of cifar10 in {cifar10} are damaged" in refusal("cifar10")


def test_archives_in_a_folder_that_is_only_for_reading(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal to write is put in by hand: the rights of a folder mean nothing to the administrator."""
    import torchvision.datasets.utils

    def refuse(archive: str, *_: object) -> None:
        raise PermissionError(13, "Permission denied", archive.removesuffix(".gz"))

    monkeypatch.setattr(torchvision.datasets.utils, "extract_archive", refuse)
    message = refusal("mnist")
    assert "can't unpack mnist" in message
    assert "Permission denied" in message
    assert f"cp -R {mnist.parent} ~/vitcourse-data" in message


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are a Unix shell's")
def test_the_command_for_a_folder_that_is_only_for_reading_works(mnist: Path, tmp_path: Path) -> None:
    command = DOWNLOADS["mnist"].to_copy(mnist.parent.parent)
    for folder in (mnist, mnist.parent):
        folder.chmod(0o555)
    home = tmp_path / "home"
    home.mkdir()
    script = f"{command} && echo $VITCOURSE_DATA"
    result = subprocess.run(["sh", "-c", script], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True)
    for folder in (mnist.parent, mnist):
        folder.chmod(0o755)
    copy = Path(result.stdout.strip())
    assert copy == home / "vitcourse-data"
    assert DOWNLOADS["mnist"].state(copy) == "packed"
    assert (copy / "MNIST" / "raw").stat().st_mode & 0o200


def test_a_root_that_cannot_be_made_is_one_line(root: Path) -> None:
    root.write_text("a file, where the folder should be")
    message = refusal("mnist")
    assert f"can't use {root}" in message
    assert "set VITCOURSE_DATA to a folder that you can write to" in message


def test_the_state_of_a_download_is_said(mnist: Path) -> None:
    root = mnist.parent.parent
    assert DOWNLOADS["mnist"].state(root) == "packed"
    load_dataset("mnist")
    assert DOWNLOADS["mnist"].state(root) == "unpacked"
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    assert DOWNLOADS["mnist"].state(root) == "missing"


def test_a_root_that_cannot_be_looked_into_holds_nothing() -> None:
    assert DOWNLOADS["mnist"].state(Path("x" * 5000)) == "missing"


def test_the_data_root_is_the_one_that_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITCOURSE_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("VITCOURSE_DATA", "~/some data")
    assert data_root() == Path.home() / "some data"


@pytest.mark.parametrize("value", [None, ""])
def test_the_data_root_is_else_in_the_users_cache(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    if value is None:
        monkeypatch.delenv("VITCOURSE_DATA", raising=False)
    else:
        monkeypatch.setenv("VITCOURSE_DATA", value)
    assert data_root() == platformdirs.user_cache_path("vitcourse")


@pytest.mark.skipif(DOWNLOADS["mnist"].state(data_root()) == "missing", reason="needs MNIST in $VITCOURSE_DATA")
def test_the_real_mnist_is_as_published() -> None:
    mnist = load_dataset("mnist")
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert mnist.test_images.shape == (10_000, 1, 28, 28)
    assert mnist.mean.item() == pytest.approx(0.1307, abs=1e-4)
    assert mnist.std.item() == pytest.approx(0.3081, abs=1e-4)
    assert mnist.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


# Folders of images


def test_a_folder_has_its_classes_in_order_and_32_pixels(folder: Path) -> None:
    dataset = load_dataset(f"folder:{folder}")
    assert dataset.name == f"folder:{folder}"
    assert dataset.classes == ("cat", "dog")
    assert dataset.train_images.shape == dataset.test_images.shape == (2, 1, 32, 32)
    assert dataset.test_labels.tolist() == [0, 1]
    assert dataset.train_labels.dtype == torch.int64
    assert dataset.skipped == ()


def test_an_image_keeps_its_label_where_the_training_images_are_shuffled(folder: Path) -> None:
    for n in range(2, 20):
        save(folder / "train" / "cat" / f"{n}.png", n)
        save(folder / "train" / "dog" / f"{n}.png", 255 - n)
    dataset = load_dataset(f"folder:{folder}", 1)
    bright = dataset.train_images.flatten() > 0.5
    assert torch.equal(bright.long(), dataset.train_labels)
    assert dataset.train_images.unique().numel() == 38
    assert set(dataset.hold_out(12).test_labels.tolist()) == {0, 1}
    assert torch.equal(dataset.train_images, load_dataset(f"folder:{folder}", 1).train_images)


def test_sizes_may_differ_and_the_middle_is_cut_out(folder: Path) -> None:
    """40 × 10 pixels, the middle red: of the green at the sides, nothing is left."""
    image = Image.new("RGB", (40, 10), GREEN)
    image.paste(RED, (12, 0, 28, 10))
    replace_image(folder, image)
    pixels = image_of(folder, 5)
    assert pixels.shape == (3, 5, 5)
    assert pixels[0].min() == 1
    assert pixels[1].max() == 0


def test_the_short_side_is_resized_in_a_tall_image_too(folder: Path) -> None:
    image = Image.new("L", (4, 12), 0)
    image.paste(255, (0, 4, 4, 6))  # the upper half of the middle
    replace_image(folder, image)
    pixels = image_of(folder, 4)
    assert pixels.shape == (1, 4, 4)
    assert pixels[0, :2].min() == 1
    assert pixels[0, 2:].max() == 0


def test_fine_stripes_turn_grey_when_an_image_shrinks(folder: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    replace_image(folder, Image.fromarray(stripes))
    assert image_of(folder, 4).sub(0.5).abs().max() < 0.1


def test_a_large_jpeg_comes_out_as_it_is(folder: Path) -> None:
    """JPEG files are decoded at a lower resolution where that will do."""
    image = Image.new("RGB", (800, 400), GREEN)
    image.paste(RED, (100, 0, 400, 400))
    replace_image(folder, image, "1.jpg", quality=95)
    pixels = image_of(folder, 8)
    assert pixels[0, :, :3].min() > 0.95  # the left half of the middle is red, the right green
    assert pixels[1, :, 5:].min() > 0.95


def test_a_large_jpeg_keeps_its_details(folder: Path) -> None:
    stripes = np.zeros((400, 800), np.uint8)
    stripes[:, np.arange(800) % 16 < 8] = 255
    replace_image(folder, Image.fromarray(stripes), "1.jpg", quality=95)
    columns = image_of(folder, 100)[0].mean(dim=0)  # stripes of two pixels
    assert columns.max() > 0.85
    assert columns.min() < 0.15


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [("1", 1, 1.0), ("L", 51, 0.2), ("I;16", 13107, 0.2), ("I", 13107, 0.2), ("LA", (51, 255), 0.2)],
)
def test_grey_images_have_one_channel(folder: Path, mode: str, colour: object, expected: float) -> None:
    replace_image(folder, Image.new(mode, (6, 5), colour), "1.tiff" if mode == "I" else "1.png")
    pixels = image_of(folder)
    assert pixels.shape == (1, 4, 4)
    assert pixels.min().item() == pytest.approx(expected, abs=1e-3)
    assert pixels.max().item() == pytest.approx(expected, abs=1e-3)


def test_sixteen_bits_are_not_cut_to_eight(folder: Path) -> None:
    ramp = (np.arange(16, dtype=np.uint16) * 4000 + 123).reshape(4, 4)
    replace_image(folder, Image.fromarray(ramp))
    assert image_of(folder).flatten().tolist() == pytest.approx((ramp.flatten() / 65535).tolist(), abs=1e-6)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "jpg", "webp", "tiff"])
def test_coloured_images_have_three_channels(folder: Path, suffix: str) -> None:
    replace_image(folder, Image.new("RGB", (6, 5), RED), f"1.{suffix}")
    assert image_of(folder).mean(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.02)


def test_palettes_and_cmyk_become_rgb(folder: Path) -> None:
    replace_image(folder, Image.new("RGB", (6, 5), GREEN).quantize(4))
    save(folder / "test" / "cat" / "2.jpg", (0, 255, 255, 0), mode="CMYK", quality=95)  # red in ink
    images = load_dataset(f"folder:{folder}", 4).test_images
    assert images[0].mean(dim=(1, 2)).tolist() == pytest.approx([0, 1, 0], abs=0.02)
    assert images[1].mean(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.05)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "L"])
def test_what_is_transparent_is_white(folder: Path, mode: str) -> None:
    options: dict[str, object] = {}
    if mode in ("P", "L"):
        image = Image.new(mode, (8, 8), 0)
        image.paste(1, (0, 0, 4, 8))
        options = {"transparency": 0}
    else:
        image = Image.new(mode, (8, 8), (0,) * len(mode))
        image.paste((0,) * (len(mode) - 1) + (255,), (0, 0, 4, 8))
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 0])
    replace_image(folder, image, **options)
    pixels = image_of(folder, 8)
    assert pixels.shape[0] == (1 if mode in ("L", "LA") else 3)
    assert pixels[:, :, :4].max() < 0.01
    assert pixels[:, :, 4:].min() == 1


def test_a_grey_image_among_coloured_ones_has_three_equal_channels(folder: Path) -> None:
    save(folder / "train" / "dog" / "2.png", RED, mode="RGB")
    dataset = load_dataset(f"folder:{folder}", 4)
    assert dataset.channels == 3
    assert dataset.test_images.shape == (2, 3, 4, 4)
    assert dataset.test_images[1].eq(1).all()


def test_an_image_that_the_camera_held_sideways_is_turned(folder: Path) -> None:
    """Orientation 6: the first row of the file is the right side of the picture."""
    image = Image.new("RGB", (8, 8), GREEN)
    image.paste(RED, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    replace_image(folder, image, "1.jpg", exif=exif, quality=95)
    pixels = image_of(folder, 8)
    assert pixels[0, :, 5:].min() > 0.9
    assert pixels[0, :, :3].max() < 0.1


def test_files_that_cannot_be_read_are_named_and_skipped(folder: Path) -> None:
    cat = folder / "train" / "cat"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(noise).save(cat / "whole.png")
    whole = (cat / "whole.png").read_bytes()
    (cat / "cut.png").write_bytes(whole[: len(whole) // 2])
    (cat / "empty.jpg").touch()
    (cat / "letter.txt").write_text("no image")
    (cat / "more").mkdir()
    Image.new("F", (4, 4), 0.5).save(cat / "fractions.tiff")
    Image.fromarray(np.full((4, 4), 100_000, np.int32)).save(cat / "thirty-two.tiff")
    dataset = load_dataset(f"folder:{folder}", 4)
    assert dataset.train_labels.sort().values.tolist() == [0, 0, 1]
    reasons = {Path(path).name: reason for path, reason in (line.split(": ", 1) for line in dataset.skipped)}
    assert set(reasons) == {"cut.png", "empty.jpg", "letter.txt", "more", "fractions.tiff", "thirty-two.tiff"}
    assert "truncated" in reasons["cut.png"]
    assert reasons["letter.txt"] == "not an image that Pillow can read"
    assert reasons["more"] == "it is a folder"
    assert "8 or 16 bits" in reasons["fractions.tiff"]
    assert "32 bits" in reasons["thirty-two.tiff"]


@pytest.mark.parametrize("name", [b"two\nlines.png", b"\xff.png"])
def test_a_file_of_an_odd_name_is_told_in_one_line_of_text(folder: Path, name: bytes) -> None:
    dogs = folder / "test" / "dog"
    try:
        with open(os.fsencode(dogs) + b"/" + name, "wb") as file:  # noqa: PTH123 - no Path has it
            file.write(b"no image")
    except (OSError, ValueError):
        pytest.skip("this file system takes no such name")
    (line,) = load_dataset(f"folder:{folder}", 4).skipped
    assert line.startswith(str(dogs))
    assert "\n" not in line
    assert line.encode()


def test_clutter_is_ignored_in_silence(folder: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._1.png"):
        (folder / "train" / "cat" / name).write_text("clutter")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    dataset = load_dataset(f"folder:{folder}", 4)
    assert dataset.skipped == ()
    assert dataset.classes == ("cat", "dog")


@pytest.mark.parametrize("clutter", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_archives_and_storage_boxes_leave_behind_is_no_class(folder: Path, split: str, clutter: str) -> None:
    save(folder / split / clutter / "cat" / "._1.png")
    save(folder / split / "cat" / clutter / "1.png")
    dataset = load_dataset(f"folder:{folder}", 4)
    assert (dataset.classes, dataset.skipped) == (("cat", "dog"), ())
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (2, 2)


def test_val_is_a_test_set_where_there_is_no_other(folder: Path) -> None:
    (folder / "test").rename(folder / "val")
    dataset = load_dataset(f"folder:{folder}", 4)
    assert len(dataset.test_labels) == 2
    assert any("has no test/; its val/ takes that place" in note for note in dataset.notes)
    for number in (1, 2, 3):
        save(folder / "test" / "dog" / f"{number}.png")
        save(folder / "test" / "cat" / f"{number}.png")
    assert len(load_dataset(f"folder:{folder}", 4).test_labels) == 6


def test_that_images_are_cut_to_squares_is_said_where_they_are(folder: Path) -> None:
    (note,) = load_dataset(f"folder:{folder}", 5).notes
    assert "squares of 5×5 pixels" in note
    assert "middle" in note
    for path in folder.glob("*/*/*.png"):
        save(path, size=(5, 5))
    assert load_dataset(f"folder:{folder}", 5).notes == ()


def test_a_huge_image_is_read_without_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # the images have 24
    assert load_dataset(f"folder:{folder}").skipped == ()
    assert not recwarn.list


def test_home_is_found_in_the_path_of_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert load_dataset(f"folder:~/{folder.name}", 2).classes == ("cat", "dog")


def test_a_file_is_no_folder(folder: Path) -> None:
    assert "there is no folder" in refusal(f"folder:{folder}/train/cat/1.png")


TRAIN, TEST = ["train/cat/1.png", "train/dog/1.png"], ["test/cat/1.png", "test/dog/1.png"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["training/cat/1.png", *TEST], "{} has no folder train/; it needs train/<class>/ and test/<class>/"),
        ([*TRAIN, "validation/cat/1.png"], "{} has no folder test/; it needs train/<class>/ and test/<class>/"),
        (["train/cat.png", *TEST], "{}/train has no class folders; put the images into train/<class>/"),
        ([TRAIN[0], TEST[0]], "{}/train has only one class, cat; there is nothing to tell apart"),
        (
            [*TRAIN, *TEST, "train/ox/1.png"],
            "{}/test has no folder for ox, as train/ has; both need the same classes",
        ),
        ([*TRAIN, *TEST, "test/ox/1.png"], "{}/train has no folder for ox, as test/ has; both need the same classes"),
        ([TRAIN[0], "train/dog/.png", *TEST], "{}/train/dog holds no image that can be read"),
        ([*TRAIN, TEST[0], "test/dog/.png"], "{}/test/dog holds no image that can be read"),
        (
            [*TRAIN, TEST[0], "test/dog/1.txt"],
            "{}/test/dog holds no image that can be read ({}/test/dog/1.txt: not an image that Pillow can read)",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(files: list[str], said: str, tmp_path: Path) -> None:
    png = save(tmp_path / "one.png").read_bytes()
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no image" if file.endswith(".txt") else png)
    assert refusal(f"folder:{tmp_path}") == said.replace("{}", str(tmp_path))
