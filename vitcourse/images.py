"""One image as it comes, as pixels: a file, a Pillow image, an array or a tensor, of any size, mode and type.

Pixels are float32, (C, H, W), from 0 to 1, and C is 1 (grey) or 3 (red, green, blue).
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vitcourse.errors import RequestError, why
from vitcourse.files import no_file, printable

Pixels = NDArray[np.float32]

# Of two colours that differ by less, out of 255, one can't be seen on the other.
_SEEN = 16
_DARKEST_FRACTIONS = 32


def open_image(path: Path, least: int | None = None) -> Image.Image:
    """The image in a file, upright, in mode L, F or RGB; a JPEG far larger than `least` pixels comes smaller.

    Raises whatever Pillow raises, and ValueError for pixels whose white isn't known.
    """
    if fault := no_file(path):
        raise ValueError(fault)
    # Pillow warns of what is odd in a file and can be read all the same.
    with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
        if least is not None:
            opened.draft(None, (least, least))  # of a large photograph, decode no more than is needed
        return plain(ImageOps.exif_transpose(opened))


def plain(image: Image.Image) -> Image.Image:
    """The image as values from 0 to 255: in mode L or F if it is grey, else RGB.

    Where it is transparent it lies on white; on black, if nothing of it would be seen on white.
    """
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image, dtype=np.float32)))
    if image.mode == "F":
        raise ValueError("its pixels are fractions of an unknown white; save it with 8 or 16 bits")
    plain_mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(plain_mode)
    layers = image.convert("RGBA")
    sheets = (Image.new("RGBA", image.size, colour) for colour in ("white", "black"))
    laid = [Image.alpha_composite(sheet, layers).convert(plain_mode) for sheet in sheets]
    return next((one for one in laid if np.ptp(np.asarray(one.convert("L"), dtype=int)) >= _SEEN), laid[0])


def fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image as H × W pixels: resized so that it just covers them, and its middle cut out."""
    return ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)


def as_pixels(image: Image.Image) -> Pixels:
    """The values of a plain image."""
    values = np.asarray(image, dtype=np.float32) / np.float32(255)  # (H, W) or (H, W, 3)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def as_image(pixels: Pixels) -> Image.Image:
    """Pixels as a plain image of 8 bits."""
    values = (pixels * 255).round().astype(np.uint8)
    return Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))


def read_pixels(image: Any, least: int | None = None) -> Pixels:
    """The pixels of an image in whatever form it comes. Raises RequestError for what is none."""
    try:
        if isinstance(image, str | Path):
            return as_pixels(open_image(Path(image).expanduser(), least))
        if isinstance(image, Image.Image):
            return as_pixels(plain(ImageOps.exif_transpose(image)))
        return _of_numbers(image)
    except Exception as error:  # a broken file makes Pillow raise almost anything: SyntaxError, struct.error
        name = str(image) if isinstance(image, str | Path) else "this image"
        raise RequestError(f"can't read {printable(name)}: {why(error)}") from error


def _of_numbers(numbers: Any) -> Pixels:
    """An array or a tensor: (H, W), (C, H, W) or (H, W, C), with 1, 3 or 4 channels; whole numbers or fractions."""
    is_tensor = hasattr(numbers, "detach")
    if not is_tensor and not isinstance(numbers, np.ndarray):
        raise ValueError(f"{type(numbers).__name__} is no image; give a path, a Pillow image, an array or a tensor")
    if is_tensor:
        numbers = numbers.detach().cpu()
        numbers = (numbers.float() if numbers.is_floating_point() else numbers).numpy()
    values: NDArray[Any] = numbers
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    shape = tuple(values.shape)
    if values.ndim == 2:
        values = values[None]
    # Torch has the channels first, most others have them last: that decides where both could be.
    elif values.ndim == 3 and shape[-1] in (1, 3, 4) and not (is_tensor and shape[0] in (1, 3, 4)):
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or len(values) not in (1, 3, 4) or not values.size:
        raise ValueError(f"shape {shape} is not (H, W), (C, H, W) or (H, W, C) with 1, 3 or 4 channels")
    scaled = _from_0_to_1(values)
    if len(scaled) == 4:
        return as_pixels(plain(as_image(scaled)))
    return scaled


def _from_0_to_1(values: NDArray[Any]) -> Pixels:
    kind = values.dtype.kind
    if kind not in "buif":
        raise ValueError(f"numbers of type {values.dtype} are no pixels")
    low, high = float(values.min()), float(values.max())
    white = 1 if high <= 1 else 65535 if kind in "ui" and (high > 255 or values.dtype == np.uint16) else 255
    # Fractions up to 16, say, could be a dark picture or one whose white is 16; whole numbers up to 16 are dark.
    unclear = kind == "f" and 1 < high < _DARKEST_FRACTIONS
    if not 0 <= low <= high <= white or unclear:  # NaN fails too
        raise ValueError(f"its values go from {low:.4g} to {high:.4g}; give pixels, from 0 to 1 or from 0 to 255")
    return values.astype(np.float32) / np.float32(white)


def _eight_bits(values: Pixels) -> Pixels:
    """16-bit grey values, 0 to 65535, on the scale from 0 to 255, fractions kept."""
    # Pillow opens some 16-bit files in its 32-bit mode; a file that uses more than 16 of them is another thing.
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits")
    return (values * (255 / 65535)).astype(np.float32)
