"""A trained model used: it takes pictures as they come, and sees them as it saw its training images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from PIL import Image
from rich.console import Console
from small_runs import SMALL
from torch import Tensor

from vitcourse import load_trained
from vitcourse.data import Dataset, load_dataset
from vitcourse.errors import RequestError
from vitcourse.ink import Framing, find_ink
from vitcourse.places import root
from vitcourse.training import preparation
from vitcourse.training.configuration import make_config
from vitcourse.training.runs import RunFolder
from vitcourse.training.train import train
from vitcourse.training.trained import Trained

H, W = 22, 26
FILL = 14  # pixels that a figure is high, in every training image
NAMES = ("ell", "tee", "bar")


def figure(name: str, size: int) -> np.ndarray:
    """A letter of one stroke's width, (size, size), 1 where it is ink: it looks different however it is turned."""
    ink, stroke = np.zeros((size, size), np.float32), size // 7
    if name == "ell":
        ink[:, :stroke] = ink[-stroke:, : 3 * size // 4] = 1
    elif name == "tee":
        ink[:stroke] = 1
        ink[:, size // 2 - stroke // 2 : size // 2 - stroke // 2 + stroke] = 1
    else:
        ink[:, size // 2 : size // 2 + stroke] = 1
    return ink


def training_image(name: str) -> np.ndarray:
    """(H, W): the figure's centre of mass in the middle."""
    ink = figure(name, FILL)
    rows, columns = np.nonzero(ink)
    top, left = round(H / 2 - rows.mean() - 0.5), round(W / 2 - columns.mean() - 0.5)
    image = np.zeros((H, W), np.float32)
    image[top : top + FILL, left : left + FILL] = ink
    return image


def letters(n: int, ground: str = "dark") -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 3
    images = torch.stack([torch.from_numpy(training_image(NAMES[label]))[None] for label in labels.tolist()])
    return (images if ground == "dark" else 1 - images), labels


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Dataset, Any], Path]:
    """The folder of a run on that data set with that configuration, trained once."""
    folders: dict[Any, Path] = {}

    def made(dataset: Dataset, config: Any) -> Path:
        asked = (dataset.name, config)
        if asked not in folders:
            folders[asked] = tmp_path_factory.mktemp("runs") / "letters"
            train(config, RunFolder(folders[asked]), Console(quiet=True))
        return folders[asked]

    return made


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch, made: Callable[..., Path], undrawn: None) -> Callable[..., Trained]:
    """A model trained for one epoch on these letters, light on dark or dark on light, in grey or in colour."""

    def trained(ground: str = "dark", channels: int = 1, epochs: int = 1, **settings: Any) -> Trained:
        (images, labels), (test, truths) = letters(60, ground), letters(7, ground)
        grey = Dataset(f"letters on {ground}", images, labels, test, truths, NAMES)
        dataset = grey if channels == 1 else coloured(grey)
        monkeypatch.setattr(preparation, "load_dataset", lambda *_: dataset)
        sizes = {"patch_size": 2, "d_model": 12, "n_heads": 2, "n_layers": 1, "batch_size": 10, "threads": 1}
        return load_trained(made(dataset, make_config("digits", epochs=epochs, device="cpu", **{**sizes, **settings})))

    return trained


def coloured(data: Dataset) -> Dataset:
    tint = torch.tensor([0.9, 0.5, 0.2]).view(3, 1, 1)
    return Dataset(
        "colour", data.train_images * tint, data.train_labels, data.test_images * tint, data.test_labels, NAMES
    )


def sheet(name: str, height: int = 190, width: int = 310, side: int = 70) -> np.ndarray:
    """Dark ink on a light sheet, away from the middle, (height, width) from 0 to 1."""
    page = np.full((height, width), 0.93, np.float32)
    top, left = 31 * height // 190, 163 * width // 310
    page[top : top + side, left : left + side] -= 0.8 * figure(name, side)
    return page


def photographed(page: np.ndarray) -> np.ndarray:
    """Lit from one side, noisy, with specks of dirt."""
    height, width = page.shape
    light = np.linspace(1, 0.6, width)[None] * np.linspace(0.95, 0.8, height)[:, None]
    dirty = page * light + np.random.default_rng(0).normal(0, 0.03, page.shape)
    dirty[-9:-6, 17:20] = 0.1
    return dirty.clip(0, 1).astype(np.float32)


# What training images have in common


def test_what_the_training_images_have_in_common_is_measured() -> None:
    least = round(float(training_image("bar").mean()), 4)
    assert Framing.of(letters(12)[0]) == Framing("dark", round(FILL / H, 4), least)
    assert Framing.of(letters(12, "light")[0]) == Framing("light", round(FILL / H, 4), least)
    noise = torch.rand(40, 1, H, W, generator=torch.Generator().manual_seed(0))
    assert Framing.of(noise) == Framing()
    assert Framing.of(letters(12)[0].expand(-1, 3, -1, -1)) == Framing()
    # Figures of many sizes have no size in common.
    blocks = torch.zeros(30, 1, H, W)
    for n, image in enumerate(blocks):
        image[:, 3 : 4 + n % 15, 5:9] = 1
    assert Framing.of(blocks) == Framing("dark", None)


# A picture as the model sees it


@pytest.mark.parametrize("ground", ["dark", "light"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [lambda page: page, photographed, lambda page: 1 - page])
def test_a_picture_of_ink_is_seen_as_the_training_images_were(
    of: Callable[..., Trained], ground: str, name: str, change: Callable[..., np.ndarray]
) -> None:
    seen = of(ground).see(change(sheet(name)))
    expected = training_image(name) if ground == "dark" else 1 - training_image(name)
    assert np.abs(seen.pixels[0].numpy() - expected).mean() < 0.03
    was_light = bool(np.median(change(sheet(name))) > 0.5)
    assert seen.inverted == (was_light != (ground == "light"))
    assert any("cut to its ink" in line for line in seen.done)


def test_an_image_of_the_training_size_is_taken_as_it_is(of: Callable[..., Trained]) -> None:
    trained = of()
    image = torch.rand(1, H, W, generator=torch.Generator().manual_seed(1)) * (letters(1)[0][0] > 0)
    seen = trained.see(image)
    assert torch.equal(seen.pixels, image)
    assert seen.done == ()
    assert torch.allclose(trained.see(1 - image).pixels, image, atol=1e-6)


def test_every_form_of_an_image_is_the_same_image(of: Callable[..., Trained], tmp_path: Path) -> None:
    trained = of()
    values = (255 * training_image("tee")).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "tee.png")
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "tee16.png")
    alpha = np.dstack([np.full((*values.shape, 3), 255, np.uint8), values])  # white on nothing
    forms = [
        tmp_path / "tee.png", str(tmp_path / "tee.png"), tmp_path / "tee16.png", Image.fromarray(values), values,
        values / 255, values > 0, torch.from_numpy(values), torch.from_numpy(values)[None], values[:, :, None],
        torch.from_numpy(values)[None, None].double() / 255, np.dstack([values] * 3), np.stack([values] * 3),
        Image.fromarray(values).convert("1"), Image.fromarray(values).convert("P"), Image.fromarray(alpha, "RGBA"),
        torch.from_numpy(values / 255).requires_grad_(), values.astype(np.float32),
    ]  # fmt: skip
    one, *others = trained.predict(forms)
    for form, other in zip(forms[1:], others, strict=True):
        assert torch.allclose(other.seen.pixels, one.seen.pixels, atol=1e-6), type(form)
    assert one.label == max(one.probabilities, key=one.probabilities.__getitem__)
    assert list(one.probabilities) == list(NAMES)
    assert sum(one.probabilities.values()) == pytest.approx(1)
    assert trained.predict(forms[0]).probabilities == pytest.approx(one.probabilities, abs=1e-6)
    assert [p.label for p in trained.predict(torch.from_numpy(values).expand(5, 1, H, W))] == [one.label] * 5


@pytest.mark.parametrize("settings", [{}, {"crop": 18}, {"channels": 3}, {"channels": 3, "crop": 20}])
def test_the_test_set_is_seen_as_evaluate_sees_it(
    of: Callable[..., Trained], tmp_path: Path, settings: dict[str, Any]
) -> None:
    trained = of(**settings)
    data = preparation.load_dataset("", None)
    setup = preparation.prepare(trained.config)
    files = []
    for number, image in enumerate(data.test_images.round(decimals=2)):
        files.append(tmp_path / f"{number}.png")
        values = (255 * image).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(values[..., 0] if trained.channels == 1 else values).save(files[-1])
    predictions = trained.predict(files)
    with torch.no_grad():
        expected = trained.model(setup.test_images).softmax(-1)
    got = torch.tensor([list(prediction.probabilities.values()) for prediction in predictions])
    torch.testing.assert_close(got, expected, atol=5e-3, rtol=0)
    assert predictions[0].seen.pixels.shape[1:] == trained.image_size


def test_images_that_were_resized_for_training_are_resized_alike(tmp_path: Path, undrawn: None) -> None:
    small = {"image_size": 12, "patch_size": 4, "d_model": 8, "n_heads": 2, "n_layers": 1, "epochs": 1, "threads": 1}
    config = make_config("digits", device="cpu", **small)
    train(config, RunFolder(tmp_path / "run"), Console(quiet=True))
    trained, data = load_trained(str(tmp_path / "run")), load_dataset("digits")
    expected = load_dataset("digits", 12).test_images[:20]
    seen = torch.stack([trained.see(image).pixels for image in data.test_images[:20]])
    torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize("colours", ["L", "RGB"])
def test_pictures_are_seen_as_those_of_the_folder_that_it_was_trained_on(
    tmp_path: Path, undrawn: None, colours: str
) -> None:
    for split in ("train", "test"):
        for name in NAMES:
            page = Image.fromarray((255 * sheet(name, 45 + len(split), 81, 14)).astype(np.uint8))
            (tmp_path / split / name).mkdir(parents=True)
            page.convert(colours).save(tmp_path / split / name / "1.jpg")
    small = {"image_size": 16, "patch_size": 4, "d_model": 8, "n_heads": 2, "n_layers": 1, "epochs": 1, "threads": 1}
    data = f"folder:{tmp_path}"
    train(make_config("digits", device="cpu", data=data, **small), RunFolder(tmp_path / "run"), Console(quiet=True))
    trained, dataset = load_trained(tmp_path / "run"), load_dataset(data, 16)
    for name, image in zip(sorted(NAMES), dataset.test_images, strict=True):
        assert torch.equal(trained.see(tmp_path / "test" / name / "1.jpg").pixels, image)


def test_weights_of_another_model_are_refused_with_the_first_part_that_does_not_fit(
    of: Callable[..., Trained], made: Callable[..., Path], tmp_path: Path
) -> None:
    config = of().config
    shutil.copytree(root() / "solutions", tmp_path / "mine")
    file = tmp_path / "mine" / "ch04_encoder.py"
    file.write_text(file.read_text(encoding="utf-8").replace("fc1", "first"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"don't fit the model of .*mine: Missing key") as caught:
        load_trained(made(preparation.load_dataset("", None), config), code=str(tmp_path / "mine"))
    assert "\n" not in str(caught.value)


def test_a_grey_picture_for_colours_and_a_coloured_one_for_grey(of: Callable[..., Trained]) -> None:
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 255, (67, 41, 3), np.uint8))
    grey = of().see(photograph)
    assert grey.pixels.shape == (1, H, W)
    assert "made grey" in grey.done
    colour = of(channels=3).see(photograph.convert("L"))
    assert colour.pixels.shape == (3, H, W)
    assert torch.equal(colour.pixels[0], colour.pixels[2])
    assert "resized to 22×26 pixels" in colour.done[0]


def test_ink_is_found_on_a_sheet_on_a_table_within_a_frame_and_up_to_the_edge(of: Callable[..., Trained]) -> None:
    trained, page = of(), sheet("ell")
    table = np.full((290, 470), 0.2, np.float32)
    table[50:240, 90:400] = page
    framed = page.copy()
    framed[[5, 6, -6, -5]] = framed[:, [5, 6, -6, -5]] = 0.1
    tight = page[31:101, 163:233]
    thin = np.full((211, 307), 0.93, np.float32)
    thin[20:190, 100:102] = thin[188:190, 100:230] = 0.1
    # A line of 2 pixels where 170 become 14 would leave a sixth of a pixel's ink.
    assert trained.see(thin).pixels[0].sum(dim=1).quantile(0.5) > 0.5
    for picture in (table, framed, tight):
        assert np.abs(trained.see(picture).pixels[0].numpy() - training_image("ell")).mean() < 0.04


def test_a_blank_sheet_is_no_crash(of: Callable[..., Trained]) -> None:
    trained = of()
    blank = trained.predict(np.full((90, 70), 0.9))
    assert blank.seen.done[-1].startswith("no figure found on its ground; ")
    assert find_ink(np.full((90, 70), 0.9, np.float32)) is None
    assert trained.predict(np.zeros((1, 1), np.uint8)).label in NAMES


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("nowhere.png", "can't read nowhere.png: "),
        (7, "an int is none|int is no image"),
        (np.zeros((5, 6, 7)), r"shape \(5, 6, 7\)"),
        (np.zeros((0, 6)), r"shape \(1, 0, 6\)|shape \(0, 6\)"),
        (torch.tensor([[-1.2, 0.3]]), "values go from -1.2 to 0.3"),
        (torch.tensor([[float("nan"), 0.3]]), "nan"),
        (np.array([[0.0, 16.0]]), "from 0 to 16; give pixels"),
        (np.array([["a", "b"]]), "no pixels"),
    ],
)
def test_what_is_no_image_is_said(of: Callable[..., Trained], image: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        of().predict(image)


# The command


def test_the_command_says_class_shares_and_what_was_done(
    of: Callable[..., Trained], made: Callable[..., Path], vitcourse: Command, tmp_path: Path
) -> None:
    config = of(epochs=40, learning_rate=0.01, dropout=0.0).config
    shutil.copytree(made(preparation.load_dataset("", None), config), tmp_path / "runs" / "letters")
    for name in NAMES:
        Image.fromarray((255 * photographed(sheet(name))).astype(np.uint8)).save(f"{name}.png")
    done = vitcourse("predict", "ell.png", "tee.png", "bar.png", "--picture", "seen.png")
    assert (done.code, done.err) == (0, "")
    for name in NAMES:
        assert f"{name}.png: {name} (" in done.out
    assert "  inverted\n" in done.out
    assert Image.open("seen.png").size[1] > 300
    listed = json.loads(vitcourse("predict", "tee.png", "--run", "letters", "--json").out)
    assert [(one["file"], one["label"], one["inverted"]) for one in listed] == [("tee.png", "tee", True)]
    assert sum(listed[0]["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here.png"], "there is no trained model in runs/ yet; type: vitcourse train"),
        (["here.png", "--run", "mine"], "there is no run mine"),
        (["here.png", "--run", "empty"], "there are no weights at empty"),
        (["here.png", "--run", "was killed"], "to go on, type: vitcourse train --resume --output 'was killed'"),
        ([], "IMAGE"),
    ],
)
def test_a_wrong_request_is_one_line(vitcourse: Command, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "was killed").mkdir()
    (tmp_path / "was killed" / "config.json").write_text("{}")
    (tmp_path / "here.png").write_text("no picture")
    done = vitcourse("predict", *words)
    assert (done.code, done.err.count("\n"), said in done.err) == (2, 1, True), done.err


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_taken(vitcourse: Command, tmp_path: Path) -> None:
    assert vitcourse("train", *SMALL, "--epochs", "1").code == 0
    (tmp_path / "text.png").write_text("no picture")
    refused = vitcourse("predict", "text.png")
    assert (refused.code, refused.err) == (2, "vitcourse: can't read text.png: not an image that Pillow can read\n")
    assert "it is a folder; name the files in it" in vitcourse("predict", str(tmp_path)).err
    assert "can't read away.png: there is no such file\n" in vitcourse("predict", "away.png").err
    Image.new("L", (5, 7)).save("grey.png")
    others = vitcourse("predict", "text.png", "grey.png", "away.png", "grey.png", "--json")
    assert [one["file"] for one in json.loads(others.out)] == ["grey.png", "grey.png"]
    assert (others.code, others.err.count("\n")) == (1, 1)
    assert "can't read text.png: not an image that Pillow can read; can't read away.png:" in others.err
    assert "type: --picture a/seen.png\n" in vitcourse("predict", "grey.png", "--picture", "a/seen.jpg").err
    assert "name another file" in vitcourse("predict", "text.png", "--picture", str(tmp_path / "text.png")).err
