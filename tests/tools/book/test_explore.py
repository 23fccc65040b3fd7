"""`vitcourse explore`: the page computes what PyTorch computes, asks nobody for anything, and everybody can use it.

In a headless Chromium or Chrome; without one these tests are skipped.
"""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import Ended
from pages import NARROW, WIDE, faults, frames, outside, with_parts
from PIL import Image, ImageDraw, ImageOps
from playwright.sync_api import expect
from torch import Tensor
from untrained import computed, make_trained

from solutions.ch06_inside import ablate_head, attention_rollout
from vitcourse.book import explore, parts
from vitcourse.data import Dataset, load_dataset, resized
from vitcourse.errors import RequestError
from vitcourse.training.augment import center_crop
from vitcourse.training.runs import WEIGHTS
from vitcourse.training.trained import Trained, weights_file

SIZES = ("d_model", "n_layers", "n_heads", "mlp_ratio")
MARKUP = "</script><b>seven"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def coloured() -> Dataset:
    """Images that are not square, in three colours, of seven classes, some of whose names could break a page."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(61, 3, 6, 10, generator=generator), torch.arange(61) % 7
    names = (MARKUP, "<!--", "ünï", "{title}", "a very long name indeed", "\\", "'\"")
    return Dataset("folder:x", images, labels, images, labels, names)


@pytest.fixture(scope="module")
def odd(coloured: Dataset) -> Trained:
    sizes = {"patch_size": 2, "d_model": 15, "n_heads": 3, "n_layers": 2, "mlp_ratio": 3}
    return make_trained(coloured, {"data": "folder:x", **sizes}, eps=1e-2)


@pytest.fixture(scope="module")
def js(browser: Any) -> Iterator[Any]:
    """A page in which the parts' functions are at hand, without the page that they make."""
    names = "makeModel, forward, argmax, inkImage, pointsOf, pointsOfPicture, asRead, squareImage, rollout, occlusion"
    with browser.new_page() as page:
        yield with_parts(page, names, "vit", "ink", "looking")


def images_of(values: Tensor) -> str:
    """Images for the page, as base64: as numbers they would take seconds."""
    return base64.b64encode(values.contiguous().numpy().astype("<f4").tobytes()).decode("ascii")


FORWARD = """([spec, data, interventions, steps]) => {
  const model = makeModel(spec), all = floats(data), { C, H, W } = model, size = C * H * W;
  const options = { off: new Set(interventions.off), covered: new Set(interventions.covered) };
  return Array.from({ length: all.length / size }, (_, i) => {
    const result = forward(model, all.slice(i * size, (i + 1) * size), options);
    if (!steps) return { logits: [...result.logits] };
    return {
      logits: [...result.logits], streams: result.streams.map((x) => [...x]),
      weights: result.layers.map((layer) => layer.heads.map((head) => [...head.weights])),
      rollout: [...rollout(model, result, 0)],
    };
  });
}""".replace("floats(data)", "new Float32Array(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer)")


def run(
    js: Any, trained: Trained, dataset: Dataset, images: Tensor, **interventions: list[Any]
) -> list[dict[str, Any]]:
    asked = {"off": [], "covered": [], **interventions}
    told = js.evaluate(FORWARD, [explore.spec(trained, dataset), images_of(images), asked, len(images) < 9])
    return list(told)


def furthest(told: list[Any], expected: Tensor) -> float:
    return float((torch.tensor(told).flatten() - expected.flatten()).abs().max())


def gap(told: list[dict[str, Any]], expected: Tensor) -> float:
    return furthest([one["logits"] for one in told], expected)


def test_the_logits_are_pytorchs_on_the_whole_digits_test_set(js: Any, digits: Dataset) -> None:
    trained = make_trained(digits, {})
    expected, _, _ = computed(trained, digits.test_images)
    told = run(js, trained, digits, digits.test_images)
    assert len(told) == len(digits.test_images)
    assert expected.std() > 1
    assert gap(told, expected) < 1e-4
    # and they would not be, were one weight another
    trained.model.blocks[2].mlp.fc2.bias.data[5] += 0.01
    assert gap(told, computed(trained, digits.test_images)[0]) > 1e-4


def test_images_that_are_not_square_and_every_step_between(js: Any, odd: Trained, coloured: Dataset) -> None:
    images = coloured.test_images[:3]
    told = run(js, odd, coloured, images)
    expected, weights, streams = computed(odd, images)
    rollouts = attention_rollout(weights)
    assert gap(told, expected) < 1e-4
    for i, one in enumerate(told):
        assert furthest(one["streams"], streams[:, i]) < 1e-4
        assert furthest(one["weights"], weights[:, i]) < 1e-5
        assert furthest(one["rollout"], rollouts[i, 0]) < 1e-5


def test_a_head_that_is_off_and_a_patch_that_is_covered(js: Any, odd: Trained, coloured: Dataset) -> None:
    images = coloured.test_images[:2].clone()
    told = run(js, odd, coloured, images, off=["1.2", "0.0"], covered=[8, 3])
    images[:, :, 2:4, 6:8] = images[:, :, 0:2, 6:8] = odd.mean.view(-1, 1, 1)  # rows 2 and 1, column 4 of 5
    without = replace(odd, model=ablate_head(ablate_head(odd.model, 1, 2), 0, 0))
    assert gap(told, computed(without, images)[0]) < 1e-4


def ink(js: Any, strokes: list[list[tuple[float, float]]], source: dict[str, Any]) -> np.ndarray:
    size = source["size"]
    told = js.evaluate("([strokes, source]) => [...inkImage(pointsOf(strokes), source)]", [strokes, source])
    return np.array(told).reshape(size, size)


SEVEN = [[(0.2, 0.2), (0.8, 0.2), (0.4, 0.9)]]


def test_a_drawn_digit_is_counted_in_blocks_as_the_digits_were(js: Any, digits: Dataset) -> None:
    source = explore.source(make_trained(digits, {}))
    image = ink(js, SEVEN, source)
    np.testing.assert_allclose(image * 16, (image * 16).round(), atol=1e-5)
    assert abs(image.mean() - float(digits.train_images.mean())) < 0.02  # as much ink as they have
    other = explore.source(replace(make_trained(digits, {"standardise": False}), mean=torch.zeros(1)))
    assert other == source, "whether the model reads them standardised or not"
    assert image[0].max() == 1  # and it fills the height, as they do
    assert image[7].max() > 0.5
    assert image[:, [0, 7]].sum() < 0.2 * image.sum()
    leaning = [[(x - 0.3 * y, y) for x, y in stroke] for stroke in SEVEN]
    assert np.abs(ink(js, leaning, source) - image).mean() < 0.02, "and stands upright, as they do"
    small = [[(0.5 + x / 2, 0.1 + y / 2) for x, y in stroke] for stroke in SEVEN]
    assert np.abs(ink(js, small, source) - image).mean() < 0.02, "how large and where one draws doesn't matter"
    assert ink(js, [], source).max() == 0


def test_a_drawn_digit_is_centred_as_mnist_was(js: Any) -> None:
    image = ink(js, SEVEN, {"kind": "centred", "size": 28})
    rows = (image > 0.5).any(axis=1).nonzero()[0]
    assert 18 <= np.ptp(rows) + 1 <= 20
    place = np.arange(28) + 0.5
    assert abs((image.sum(1) * place).sum() / image.sum() - 14) < 0.5
    assert abs((image.sum(0) * place).sum() / image.sum() - 14) < 0.5


PIXELS = """([data, width, height]) =>
  new ImageData(Uint8ClampedArray.from(atob(data), (c) => c.charCodeAt(0)), width, height)"""


def rgba(picture: Image.Image) -> list[Any]:
    return [base64.b64encode(picture.convert("RGBA").tobytes()).decode("ascii"), *picture.size]


@pytest.mark.parametrize(("width", "height", "channels", "size"), [(53, 37, 3, 11), (19, 41, 1, 13), (7, 5, 3, 17)])
def test_a_picture_is_cut_and_resized_as_training_does_it(
    js: Any, width: int, height: int, channels: int, size: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(noise)
    told = js.evaluate(f"([p, c, s]) => [...squareImage(({PIXELS})(p), c, s)]", [rgba(picture), channels, size])
    mode = "RGB" if channels == 3 else "L"
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = picture.convert(mode).crop((left, top, left + side, top + side)).resize((size, size), Image.BILINEAR)
    assert square.size == ImageOps.fit(picture, (size, size), Image.BILINEAR).size
    expected = np.atleast_3d(np.asarray(square, np.float32)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(np.array(told).reshape(channels, size, size), expected, atol=2 / 255)


@pytest.mark.parametrize(("resize", "crop"), [(None, None), (None, 5), (19, None), (13, 7), (5, 4)])
def test_an_image_is_read_as_the_test_images_are(js: Any, resize: int | None, crop: int | None) -> None:
    image = torch.rand(1, 2, 11, 11, generator=torch.Generator().manual_seed(0))
    expected = center_crop(image if resize is None else resized(image, resize), crop)[0]
    source = {"size": 11, "resize": resize, "crop": crop}
    told = js.evaluate(
        "([values, source]) => [...asRead(Float32Array.from(values), 2, source)]", [image.flatten().tolist(), source]
    )
    assert furthest(told, expected) < 1e-5


def photographed(size: tuple[int, int], paper: int, pen: int) -> Image.Image:
    width, height = size
    picture = Image.new("RGB", size, (paper, paper, paper))
    line = [(0.3 * width, 0.2 * height), (0.7 * width, 0.2 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(picture).line(line, (pen, pen, pen), width=max(3, height // 20))
    return picture


def test_ink_is_found_on_paper_of_any_colour(js: Any) -> None:
    find = f"([p, source]) => [...inkImage(pointsOfPicture(({PIXELS})(p)), source, 'area')]"
    source = {"kind": "centred", "size": 28}
    dark, light = (
        np.array(js.evaluate(find, [rgba(photographed((211, 307), *tones)), source])).reshape(28, 28)
        for tones in ((240, 30), (25, 230))
    )
    np.testing.assert_allclose(dark, light, atol=0.05)
    drawn = ink(js, [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]], source)
    assert dark.max() > 0.95
    assert np.corrcoef(dark.ravel(), drawn.ravel())[0, 1] > 0.6


# The page


def written(path: Path, trained: Trained, dataset: Dataset) -> str:
    path.write_text(explore.page(explore.spec(trained, dataset), "a <run>"), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> str:
    return written(tmp_path_factory.mktemp("explore") / "digits.html", make_trained(digits, {}), digits)


def logits(page: Any) -> list[str]:
    frames(page)
    return [cell.replace("−", "-") for cell in page.locator(".answer tbody td:nth-child(3)").all_inner_texts()]


@pytest.mark.parametrize(
    "viewport", [pytest.param(WIDE, id="wide"), pytest.param(NARROW, id="narrow", marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_the_page_is_whole_and_for_everybody(
    open_page: Callable[..., Any], address: str, viewport: dict[str, int], scheme: str
) -> None:
    page = open_page(address, viewport=viewport, color_scheme=scheme)
    page.locator(".thumb").nth(5).click()
    page.locator(".head").nth(2).click()
    page.locator(".picture button").nth(1).click()
    expect(page.locator("[data-part=words]")).not_to_be_empty()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert outside(page, address) == []
    assert page.complaints == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) > 127) == (scheme == "light")
    page.get_by_role("button", name="Light" if scheme == "dark" else "Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_the_page_says_how_well_it_agrees_with_pytorch(
    open_page: Callable[..., Any], address: str, tmp_path: Path, digits: Dataset
) -> None:
    said = open_page(address).locator("[data-part=agreement]")
    expect(said).to_contain_text(re.compile(r"its 40 test images, each in about \d+\.\d ms.* at most \d · 10⁻[⁴-⁹]"))
    about = explore.spec(make_trained(digits, {}), digits)
    about["eps"]["norm"] = 1.0
    (tmp_path / "other.html").write_text(explore.page(about, "other"), encoding="utf-8")
    expect(open_page((tmp_path / "other.html").as_uri()).locator("[data-part=agreement]")).to_contain_text("Beware")


@pytest.mark.thorough
def test_drawing_with_the_mouse_and_with_the_keyboard(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address)
    page.get_by_role("button", name="Clear").click()
    frames(page)
    assert page.locator(".large").inner_text() == "?"
    blank = logits(page)
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=5)
    page.mouse.move(box["x"] + 120, box["y"] + 240, steps=5)
    page.mouse.up()
    by_mouse = logits(page)
    assert by_mouse != blank
    page.locator(".pad").focus()
    page.keyboard.press("Delete")
    assert logits(page) == blank
    page.keyboard.press("Space")
    for key in ["Shift+ArrowLeft", "ArrowDown", "ArrowDown", "Space"]:
        page.keyboard.press(key)
    assert logits(page) != blank
    assert (
        "pen up, 42% from the left, 54% from the top" in page.locator(".hand .unseen[role=status]").first.inner_text()
    )
    page.keyboard.press("7")
    assert logits(page) not in (blank, by_mouse)
    assert page.locator(".large").inner_text() != "?"


@pytest.mark.thorough
def test_heads_go_off_patches_are_covered_and_all_comes_back(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address)
    page.locator(".thumb").first.focus()
    page.keyboard.press("Enter")
    before = logits(page)
    page.locator(".head").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    head = page.locator(".head").nth(5)  # layer 2, head 1, from 0
    expect(head).to_have_attribute("aria-checked", "false")
    without_head = logits(page)
    assert without_head != before
    moved = [cell for cell in page.locator(".answer td.moved").all_inner_texts() if cell]
    assert moved
    page.locator(".picture button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert logits(page) not in (before, without_head)
    page.get_by_role("button", name="Undo: 1 head, 1 patch").click()
    assert logits(page) == before
    assert page.locator(".head[aria-checked=false], .picture [aria-pressed=true]").count() == 0


@pytest.mark.thorough
def test_a_token_is_chosen_by_keyboard_and_what_it_sees_is_said(open_page: Callable[..., Any], address: str) -> None:
    page = open_page(address)
    head = page.locator(".head").first
    expect(head).to_have_attribute("aria-label", re.compile("CLS looks"))
    page.locator(".token").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".token").nth(2)).to_have_attribute("aria-checked", "true")
    expect(head).to_have_attribute(
        "aria-label", re.compile(r"Layer 1, head 0: the patch in row 0, column 1 looks \d+%")
    )
    head.hover()
    assert page.locator("[data-part=look]").inner_text().startswith("In layer 1, head 0, the patch in row 0, column 1")


@pytest.mark.thorough
def test_a_run_on_pictures_takes_a_picture_and_names_are_never_markup(
    open_page: Callable[..., Any], tmp_path: Path, odd: Trained, coloured: Dataset
) -> None:
    square = replace(
        coloured, train_images=coloured.train_images[:, :, :6, :6], test_images=coloured.test_images[:, :, :6, :6]
    )
    sizes = {"patch_size": 2, "d_model": 15, "n_heads": 3, "n_layers": 2}
    page = open_page(written(tmp_path / "x.html", make_trained(square, {"data": "folder:x", **sizes}), square))
    assert page.locator(".answer th[scope=row]").all_inner_texts() == list(square.classes)
    assert page.get_by_role("button", name="Clear").is_hidden()
    before = logits(page)
    photographed((53, 37), 200, 20).save(tmp_path / "picture.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "picture.png")
    expect(page.locator("[data-part=taken]")).to_contain_text("picture.png: taken")
    assert logits(page) != before
    (tmp_path / "no.png").write_text("no picture")
    page.locator("input[type=file]").set_input_files(tmp_path / "no.png")
    expect(page.locator("[data-part=taken]")).to_contain_text("not a picture")
    assert page.complaints == []


# The command


def test_the_command_writes_the_page_of_a_run(
    type_in: Callable[..., Ended], tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "type: vitcourse train" in type_in("explore").err
    trained = make_trained(digits, {})
    sizes = {name: getattr(trained.config, name) for name in (*SIZES, "patch_size")}
    about = {"image_size": digits.image_size, "in_channels": 1, "n_classes": 10, **sizes}
    Path("runs/a").mkdir(parents=True)
    norm = {"mean": trained.mean, "std": trained.std}
    setup = SimpleNamespace(model_arguments=about, config=trained.config, dataset=digits, **norm)
    Path("runs/a", WEIGHTS).write_bytes(weights_file(trained.model, setup))
    ended = type_in("explore")
    assert ended.code == 0, ended.err
    assert re.match(r"wrote runs/a/explore.html \(\d+ kB\)", ended.out)
    assert "otherwise" not in ended.out
    assert Path("runs/a/explore.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert type_in("explore", "runs/a", "--output=mine.html").code == 0
    assert Path("mine.html").is_file()
    assert type_in("explore", "nowhere").code == 2

    def away(name: str, image_size: int | None) -> Dataset:
        raise RequestError("the images are away")

    monkeypatch.setattr(explore, "load_dataset", away)
    ended = type_in("explore", "runs/a", "--output=without.html")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "the page has no test images: the images are away")
    failed = type_in("explore", "runs/a", "--output=no/such/folder.html")
    assert (failed.code, failed.err.count("\n")) == (2, 1)
    monkeypatch.setattr(explore, "MOST_PARAMETERS", 100)
    failed = type_in("explore", "runs/a")
    assert failed.code == 2
    assert "too large for a page" in failed.err


def test_a_model_that_computes_otherwise_is_named(digits: Dataset) -> None:
    reference, other = make_trained(digits, {}), make_trained(digits, {}, eps=1e-2)
    assert explore._gap(other, reference) < explore.SAME, "another eps is right too"
    other.model.norm.forward = lambda x: 2 * x
    assert explore._gap(other, reference) > explore.SAME


def test_parts_hold_no_import_that_a_page_cant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = b;\n')
    (tmp_path / "b.js").write_text("export const b = 2;\n")
    (tmp_path / "c.js").write_text('import * as all from "./b.js";\n')
    monkeypatch.setattr(parts, "folder", lambda: tmp_path)
    assert parts.script("a", "b") == "// b.js\nconst b = 2;\n\n// a.js\nconst a = b;\n"
    with pytest.raises(ValueError, match=r"c\.js"):
        parts.script("c")
    assert parts.as_script({"<": MARKUP}).count("<") == 0


def test_mistakes_are_among_the_test_images() -> None:
    labels = torch.arange(100) % 10
    guesses = torch.nn.functional.one_hot(labels, 10).float() * 5
    guesses[[13, 57]] = guesses[[13, 57]].roll(1, dims=1)
    chosen = explore._chosen(guesses, labels, 23)
    assert len(chosen) == len(set(chosen)) == 23
    assert {13, 57} <= set(chosen)
    assert set(labels[chosen].tolist()) == set(range(10))
