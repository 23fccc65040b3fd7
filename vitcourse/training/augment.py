"""Random changes to training images that leave the label true, as tensor operations on a whole batch.

An augmentation takes a batch of images in [0, 1] and a generator on the images' device, and returns a batch of the same
shape. Each image gets a draw of its own, and what it uncovers is background: 0.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vitcourse.training.presets import TrainConfig

# Half a stroke of a digit is bent as one.
PIXELS_A_KNOT = 6

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def augmentations(config: TrainConfig) -> list[Augmentation]:
    """The augmentations that a configuration asks for, in the order in which they are applied."""
    chosen: list[Augmentation] = [random_flip] if config.flip else []
    if config.rotate or config.stretch or config.shear or config.elastic or config.shift % 1:
        changes = {name: getattr(config, name) for name in ("shift", "rotate", "stretch", "shear", "elastic", "crop")}
        chosen.append(partial(random_affine, **changes))
    elif config.shift:
        chosen.append(partial(random_shift, pixels=int(config.shift)))
    return chosen


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror about half of the images, left to right."""
    flipped = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(flipped.view(-1, 1, 1, 1), images.flip(-1), images)  # (B, C, H, W)


def random_shift(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Move each image by a whole number of pixels, from -pixels to pixels, down and to the right."""
    n_images, _, height, width = images.shape
    padded = F.pad(images, (pixels,) * 4)  # (B, C, H + 2s, W + 2s)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2s + 1, 2s + 1, H, W), a view
    draw = torch.randint(2 * pixels + 1, (2, n_images), generator=generator, device=images.device)
    return windows[torch.arange(n_images, device=images.device), :, draw[0], draw[1]]  # (B, C, H, W)


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    shift: float,
    rotate: float,
    stretch: float,
    shear: float,
    elastic: float = 0.0,
    crop: int | None = None,
) -> Tensor:
    """Slant, stretch, turn, move and bend each image about its centre, all at once and with bilinear interpolation.

    With crop only the middle of what comes out is computed, crop × crop pixels.

    shift is in pixels and rotate in degrees, each way; stretch and shear are shares: an axis is stretched by a factor
    from exp(-stretch) to exp(stretch), and the slant moves a row by up to shear times its distance from the centre.
    elastic is in pixels too: the standard deviation of the way that a knot of the bending is moved, down and across.
    """
    n_images, _, height, width = images.shape

    def draw(most: float) -> Tensor:
        return most * (2 * torch.rand(n_images, generator=generator, device=images.device) - 1)  # (B)

    angle, slant = draw(math.radians(rotate)), draw(shear)
    cos, sin, wide, high = angle.cos(), angle.sin(), draw(stretch).exp(), draw(stretch).exp()
    # Where a pixel of the new image comes from: rotation · slant · stretching. grid_sample measures in half sides of
    # the image: what mixes the axes is rescaled, so that images that are not square turn without being squeezed. All by
    # numbers of Python's: a tensor made of them here would have to wait for the GPU.
    by_x = torch.stack([wide * cos, wide * sin * (width / height)], dim=1)  # (B, 2), across and down
    by_y = torch.stack([high * (cos * slant - sin) * (height / width), high * (sin * slant + cos)], dim=1)
    moved = torch.stack([draw(shift) * (2 / width), draw(shift) * (2 / height)], dim=1)
    x, y = (_centres(side, images.device) for side in (width, height))
    # A sum that is spread out costs a tenth of torch's affine_grid, a product of matrices three numbers wide.
    down_the_rows = (by_y[:, :, None] * y + moved[:, :, None])[..., None]  # (B, 2, H, 1)
    places = down_the_rows + (by_x[:, :, None] * x)[:, :, None]  # (B, 2, H, W)
    if elastic:
        places = places + _bending(images, generator, elastic)
    grid = center_crop(places, crop).permute(0, 2, 3, 1)  # (B, H, W, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)  # (B, C, H, W)


def _centres(side: int, device: torch.device) -> Tensor:
    """Where the middles of the pixels are, in half sides of the image from its centre. (side)."""
    return (2 * torch.arange(side, device=device) + 1) / side - 1


def _bending(images: Tensor, generator: torch.Generator, pixels: float) -> Tensor:
    """How far each pixel is moved, across and down, in half sides of the image: smooth between knots. (B, 2, H, W).

    Source: the elastic distortions of Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural
    networks applied to visual document analysis"; a coarse grid drawn in place of a fine one made smooth.
    """
    n_images, _, height, width = images.shape
    knots = (n_images, 2, _knots(height), _knots(width))
    moved = pixels * torch.randn(knots, generator=generator, device=images.device)
    smooth = F.interpolate(moved, size=(height, width), mode="bicubic", align_corners=True)  # (B, 2, H, W)
    return torch.stack([smooth[:, 0] * (2 / width), smooth[:, 1] * (2 / height)], dim=1)


def _knots(side: int) -> int:
    """How many knots stand along a side, the first and the last on its edges."""
    return max(2, round(side / PIXELS_A_KNOT) + 1)


def center_crop(images: Tensor, size: int | None) -> Tensor:
    """The middle of the images, size × size pixels; all of them if size is None. (B, C, H, W) -> (B, C, size, size)."""
    if size is None:
        return images
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]
