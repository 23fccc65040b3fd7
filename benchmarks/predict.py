"""How well a model trained on MNIST reads pictures that are not MNIST's; into results/predict.json.

Thirty digits made in ten other ways; the whole test set through PNG files; and the same handwriting as ink on sheets
that are photographed. In the course's folder, type: python benchmarks/predict.py RUN [--images N]
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from benchmarks.shared import keep
from vitcourse import load_trained
from vitcourse.data import Dataset, load_dataset
from vitcourse.training.trained import Trained

FONTS = (  # these come with matplotlib, and so are the same everywhere
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmb10", "cmss10", "cmti10",
)  # fmt: skip


def glyph(digit: int, font: str, height: int) -> Image.Image:
    """A digit's ink, 255 on 0, with nothing around it."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    sheet = Image.new("L", (4 * height, 4 * height))
    ImageDraw.Draw(sheet).text((height, height), str(digit), 255, ImageFont.truetype(str(path), 2 * height))
    ink = sheet.crop(sheet.getbbox())
    return ink.resize((max(1, round(ink.width * height / ink.height)), height), Image.Resampling.LANCZOS)


def on_sheet(ink: Image.Image, size: tuple[int, int], at: tuple[float, float]) -> np.ndarray:
    """The ink on a sheet of that width and height, (H, W) from 0 to 1; at says where, from one end to the other."""
    sheet = Image.new("L", size)
    sheet.paste(ink, tuple(round(share * (room - side)) for share, room, side in zip(at, size, ink.size, strict=True)))
    return np.asarray(sheet, dtype=np.float64) / 255


def photographed(ink: np.ndarray, draw: np.random.Generator, paper: float = 0.9, pen: float = 0.2) -> Image.Image:
    """Ink on paper, lit from one side, in a noisy picture."""
    height, width = ink.shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    side, fall = draw.uniform(0, 2 * np.pi), draw.uniform(0.2, 0.45)
    light = 1 - fall * (0.5 + 0.5 * (np.cos(side) * (2 * x - 1) + np.sin(side) * (2 * y - 1)) / np.sqrt(2))
    values = (paper + (pen - paper) * ink) * light + draw.normal(0, 0.03, ink.shape)
    return as_image(values)


def as_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * values.clip(0, 1)).round().astype(np.uint8))


def coloured(ink: np.ndarray, paper: tuple[int, int, int], pen: tuple[int, int, int]) -> Image.Image:
    values = np.array(paper) + ink[..., None] * (np.array(pen) - np.array(paper))
    return Image.fromarray(values.round().astype(np.uint8))


def transparent(ink: np.ndarray, grey: int) -> Image.Image:
    alpha = (255 * ink).round().astype(np.uint8)
    return Image.fromarray(np.dstack([np.full_like(alpha, grey)] * 3 + [alpha]))


def tilted(ink: Image.Image, draw: np.random.Generator) -> Image.Image:
    return ink.rotate(draw.uniform(-10, 10), Image.Resampling.BICUBIC, expand=True)


def chalk(ink: np.ndarray, draw: np.random.Generator) -> Image.Image:
    return coloured(ink * draw.uniform(0.8, 1, ink.shape), (40, 80, 60), (230, 235, 225))


# How a picture is made: the digit's height, the sheet's width and height, where the digit lies on it, and the rest.
Way = tuple[int, tuple[int, int], tuple[float, float], Callable[[np.ndarray, np.random.Generator], Image.Image]]
WAYS: dict[str, Way] = {
    "black on white, wide margins": (160, (640, 480), (0.8, 0.3), lambda ink, _: as_image(1 - ink)),
    "white on black": (160, (200, 300), (0.5, 0.5), lambda ink, _: as_image(ink)),
    "black on nothing (RGBA)": (160, (260, 220), (0.2, 0.6), lambda ink, _: transparent(ink, 0)),
    "white on nothing (RGBA)": (160, (260, 220), (0.5, 0.1), lambda ink, _: transparent(ink, 255)),
    "blue on yellow": (160, (300, 300), (0.4, 0.5), lambda ink, _: coloured(ink, (250, 235, 180), (30, 40, 140))),
    "photographed, tilted": (160, (640, 480), (0.4, 0.6), photographed),
    "pencil, photographed": (220, (480, 640), (0.6, 0.4), lambda ink, draw: photographed(ink, draw, 0.8, 0.5)),
    "twelve pixels high": (12, (40, 24), (0.5, 0.5), lambda ink, _: as_image(1 - ink)),
    "three thousand pixels wide": (700, (3000, 2000), (0.3, 0.7), photographed),
    "chalk on a green board": (160, (320, 240), (0.5, 0.4), chalk),
}


def picture(digit: int, font: str, way: str, draw: np.random.Generator) -> Image.Image:
    """A digit in that font, made in that way."""
    height, size, at, make = WAYS[way]
    ink = glyph(digit, font, height)
    return make(on_sheet(tilted(ink, draw) if "tilted" in way else ink, size, at), draw)


def thirty() -> list[tuple[int, str, str, Image.Image]]:
    """Each digit in three ways, each way for three digits: digit, way, font and picture."""
    draw, ways = np.random.default_rng(0), list(WAYS)
    chosen = [(n % 10, ways[(n + 3 * (n // 10)) % 10], FONTS[n % len(FONTS)]) for n in range(30)]
    return [(digit, way, font, picture(digit, font, way, draw)) for digit, way, font in chosen]


def made_pictures(trained: Trained) -> dict[str, Any]:
    rows = []
    for digit, way, font, made in thirty():
        said = trained.predict(made)
        sure = round(said.probabilities[said.label], 3)
        rows.append({"digit": digit, "way": way, "font": font, "said": said.label, "probability": sure})
    right = sum(row["said"] == str(row["digit"]) for row in rows)
    return {"pictures": len(rows), "right": right, "rows": rows}


def through_files(trained: Trained, data: Dataset) -> dict[str, Any]:
    """Every test image saved as a PNG file and read again, beside what the model makes of the images themselves."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.png" for number in range(len(data.test_images))]
        for file, image in zip(files, data.test_images, strict=True):
            as_image(image[0].numpy()).save(file)
        said = trained.predict(files)
    directly = trained.predict(list(data.test_images))
    return {
        "images": len(said),
        "right": right_of(said, data),
        "right_without_files": right_of(directly, data),
        "answered_alike": sum(one.label == other.label for one, other in zip(said, directly, strict=True)),
        "inverted": sum(one.seen.inverted for one in said),
    }


def on_paper(trained: Trained, data: Dataset, n_images: int) -> dict[str, Any]:
    """The first test images drawn eight times as large in ink on a sheet of 640 × 480 pixels, and photographed."""
    draw = np.random.default_rng(0)
    pictures = []
    for image in data.test_images[:n_images]:
        small = as_image(image[0].numpy())
        ink = small.resize((8 * small.width, 8 * small.height), Image.Resampling.BICUBIC)
        pictures.append(photographed(on_sheet(ink, (640, 480), tuple(draw.uniform(0, 1, 2))), draw))
    return {"images": n_images, "right": right_of(trained.predict(pictures), data)}


def right_of(said: list[Any], data: Dataset) -> int:
    truths = data.test_labels.tolist()
    return sum(one.label == data.classes[truth] for one, truth in zip(said, truths, strict=False))


def main(run: str, images: int = 1000, output: Path | None = None) -> None:
    """Ask the run about all of these pictures, so many test images on paper; print and write what came of it."""
    trained = load_trained(run)
    data = load_dataset(trained.config.data, trained.config.image_size)
    record = keep(
        "predict",
        f"a run of {trained.config.preset}, asked about pictures that are not its data set's",
        file=output,
        made=made_pictures(trained),
        test_set_through_png_files=through_files(trained, data),
        test_images_on_paper_photographed=on_paper(trained, data, images),
    )
    print(json.dumps({**record, "made": {**record["made"], "rows": "…"}}, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    typer.run(main)
