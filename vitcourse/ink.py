"""How the training images are framed, and a picture of ink on paper, drawn or photographed, framed as they are.

In MNIST every digit is light on dark, and fills 20 of 28 pixels, its centre of mass in the middle. A model knows no
others. What is typical of a training set is measured from its images, so that this holds for others of its kind too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Grey = NDArray[np.float32]  # (H, W), from 0 to 1

# Pixels that differ more than this from the background belong to what is shown.
_APART = 0.2
# The long side on which ink is looked for: a stroke is some pixels wide, and noise averages out.
_WORKING_SIZE = 512


@dataclass(frozen=True)
class Framing:
    """What the training images have in common; None where they differ, as photographs do.

    background: "dark" or "light", as the images' edges are; None where channels are more than one.
    fill: the longer side of what is shown, as a share of the image's side.
    ink: how much of an image is inked at least (one in twenty has less).
    """

    background: str | None = None
    fill: float | None = None
    ink: float = 0.0

    @classmethod
    def of(cls, images: Any) -> "Framing":
        """What grey images (n, 1, H, W) have in common: the ground of all, the size of nine in ten."""
        if images.shape[1] != 1:
            return cls()
        values = images[:2000, 0].numpy()
        edges = np.median(_edge(values), axis=-1)  # (n)
        background = "dark" if (edges < 0.25).all() else "light" if (edges > 0.75).all() else None
        if background is None:
            return cls()
        shown = (values if background == "dark" else 1 - values) > _APART  # (n, H, W)
        extents = [_extent(shown.any(axis=axis)) / shown.shape[3 - axis] for axis in (1, 2)]
        fills = np.maximum(*extents)  # (n)
        fill = float(np.median(fills))
        alike = fill > 0 and (np.abs(fills - fill) <= 0.1 * fill).mean() >= 0.9
        if not alike:
            return cls(background)
        inked = values.mean((1, 2)) if background == "dark" else 1 - values.mean((1, 2))
        return cls(background, round(fill, 4), round(float(np.quantile(inked, 0.05)), 4))

    @property
    def on_dark(self) -> bool:
        """Whether the ground is known to be dark."""
        return self.background == "dark"

    def is_turned(self, pixels: NDArray[np.float32]) -> bool:
        """Whether the background of an image (1, H, W) is dark where training's was light, or the other way round."""
        if self.background is None:
            return False
        return bool((np.median(_edge(pixels)) > 0.5) != (self.background == "light"))


def _edge(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels along the four edges: (…, H, W) -> (…, 2W + 2H)."""
    return np.concatenate([values[..., 0, :], values[..., -1, :], values[..., :, 0], values[..., :, -1]], axis=-1)


def _extent(shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """From the first to the last pixel that is shown: (n, S) -> (n)."""
    extent: NDArray[np.int64] = np.where(shown.any(1), shown.shape[1] - shown[:, ::-1].argmax(1) - shown.argmax(1), 0)
    return extent


@dataclass(frozen=True)
class Ink:
    """Ink that was found: its strength (H, W) from 0 to 1, whether it is dark, its box (top, left, bottom, right)."""

    strength: Grey
    dark: bool
    box: tuple[int, int, int, int]

    def framed(self, framing: Framing, size: tuple[int, int]) -> Grey:
        """The ink as an image of that size (H, W), filled as training's were, its centre of mass in the middle."""
        top, left, bottom, right = self.box
        height, width = size
        # How many of the picture's pixels go into one of the image's.
        scale = max((bottom - top) / height, (right - left) / width) / (framing.fill or 1)
        window, corner = scale * np.array([height, width]), np.array([top, left])
        centre = np.array(ndimage.center_of_mass(self.strength)) + 0.5
        # By whole pixels of the image, so that its edges stay sharp; none of the ink is cut off.
        most = np.floor((window - [bottom - top, right - left]) / scale + 1e-6)
        start = corner - scale * ((corner - centre + window / 2) / scale).round().clip(0, most)
        margin = int(np.ceil(window.max())) + 1
        (y, x), (h, w) = start + margin, window
        # Each new pixel counts the ink that fell on it, as those who made the digits did; few pixels are drawn finer.
        how = Image.Resampling.BOX if scale > 1.5 else Image.Resampling.BICUBIC
        strength = self.strength
        for _ in range(int(scale) + 1):
            padded = Image.fromarray(np.pad(strength, margin))
            small = np.asarray(padded.resize((width, height), how, box=(x, y, x + w, y + h))).clip(0, 1)
            if small.mean() >= 0.75 * framing.ink:
                break
            # The lines of a thin pen would all but vanish.
            strength = ndimage.grey_dilation(strength, size=3)
        return small


def find_ink(grey: Grey) -> Ink | None:
    """The ink on a sheet that may be noisy and unevenly lit; None where nothing stands out."""
    shrunk = _shrunk(grey)
    apart = shrunk - _sheet(shrunk)  # (H, W), negative where it is darker than the sheet
    apart = ndimage.gaussian_filter(apart, max(shrunk.shape) / 400)
    dark = bool((apart**3).sum() < 0)  # what stands out most decides
    strength = np.maximum(-apart if dark else apart, 0)
    threshold = _two_classes(strength)
    shown = strength > threshold
    noise = apart[~shown].std() if not shown.all() else 0
    full = float(np.median(strength[shown])) if shown.any() else 0
    if full < max(0.06, 4 * noise):
        return None
    inner = _sheet_within(shown)
    if inner is not None:
        within = find_ink(shrunk[inner])
        if within is not None:
            return within
    shown = _without_specks(shown)
    near = ndimage.binary_dilation(shown, iterations=2)
    soft = np.where(near, ((strength / full - 0.25) / 0.5).clip(0, 1), 0).astype(np.float32)
    if not soft.any():
        return None
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    return Ink(soft, dark, (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1))


def _shrunk(grey: Grey) -> Grey:
    factor = _WORKING_SIZE / max(grey.shape)
    if factor >= 1:
        return grey
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _sheet(grey: Grey) -> Grey:
    """The sheet without the ink: the quadratic surface nearest to the pixels, measured so that ink weighs little."""
    height, width = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)  # (H, W, 6)
    step = max(1, max(height, width) // 96)
    few, seen = terms[::step, ::step].reshape(-1, 6), grey[::step, ::step].reshape(-1)
    # It begins at the edges' grey: a thick digit may cover more of its picture than the sheet does.
    apart = seen - np.median(_edge(grey))
    for _ in range(12):
        weights = 1 / (apart**2 + 0.05**2)  # Cauchy's: what lies far off, as ink does, hardly counts
        pull = few.T * weights  # (6, n)
        surface = np.linalg.solve(pull @ few + 1e-6 * np.eye(6), pull @ seen)
        apart = seen - few @ surface
    sheet: Grey = (terms @ surface).astype(np.float32)
    return sheet


def _two_classes(values: Grey) -> float:
    """The middle between little and much, told apart so that each is as uniform as can be (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    best = np.nan_to_num(between).argmax()
    return float(sums[best] / max(below[best], 1) + (sums[-1] - sums[best]) / max(above[best], 1)) / 2


def _sheet_within(shown: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Where what stands out is no figure but a sheet on a table, or a frame: its inside."""
    parts, _ = ndimage.label(ndimage.binary_fill_holes(shown))
    areas = np.bincount(parts.ravel())[1:]
    rows, columns = ndimage.find_objects(parts)[areas.argmax()]
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if areas.max() < max(0.2 * shown.size, 0.9 * height * width) or min(height, width) < 16:
        return None
    y, x = 1 + height // 16, 1 + width // 16
    return slice(rows.start + y, rows.stop - y), slice(columns.start + x, columns.stop - x)


def _without_specks(shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is shown without dots of dirt, and without what comes in from the edge if something lies free of it."""
    parts, n_parts = ndimage.label(shown, structure=np.ones((3, 3)))
    areas = ndimage.sum_labels(shown, parts, np.arange(1, n_parts + 1))
    at_edge = np.isin(np.arange(1, n_parts + 1), _edge(parts))
    free = areas * ~at_edge
    if free.max() >= 0.1 * areas.max():
        areas = free
    kept: NDArray[np.bool_] = np.isin(parts, 1 + np.flatnonzero(areas >= 0.05 * areas.max()))
    return kept
