"""Chapter 1: an image becomes a sequence.

A transformer reads a sequence of vectors. An image is a grid of pixels. This chapter cuts the image into P×P patches,
reads them row by row, and projects each one to a vector of width D.

B batch size · C, H, W image channels, height, width · P patch size · gh = H/P, gw = W/P patch grid ·
N = gh·gw patches · D = d_model

Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words" (arXiv:2010.11929), section 3.1 and equation 1.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def patch_grid(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Given, not an exercise: the patch grid (gh, gw) of an image of height × width pixels.

    Raises ValueError when height or width is not divisible by patch_size.
    """
    if height % patch_size or width % patch_size:
        raise ValueError(f"an image of {height}×{width} pixels can't be cut into patches of {patch_size}×{patch_size}")
    return height // patch_size, width // patch_size


# Exercise 1.1


def patchify(images: Float[Tensor, "B C H W"], patch_size: int) -> Float[Tensor, "B N C*P*P"]:
    """Cut images into flat patches: the x_p of the paper.

    Patches come row by row; the pixels of a patch come in (C, P, P) order, the order in which a convolution's kernel
    is flattened.

    (B, C, H, W) -> (B, N, C·P·P)

    Raises ValueError when H or W is not divisible by P, naming the three numbers.

    Source: Dosovitskiy et al. 2021, section 3.1.
    """
    gh, gw = patch_grid(images.shape[2], images.shape[3], patch_size)
    patches = rearrange(
        images, "B C (gh P1) (gw P2) -> B (gh gw) (C P1 P2)", gh=gh, gw=gw
    )                                                               # (B, N, C·P·P)
    return patches


# Exercise 1.2


def unpatchify(
    patches: Float[Tensor, "B N C*P*P"], patch_size: int, grid: tuple[int, int], channels: int
) -> Float[Tensor, "B C H W"]:
    """Put flat patches together again: the exact inverse of patchify.

    grid is (gh, gw), the rows and columns of patches; channels is C.

    (B, N, C·P·P) -> (B, C, H, W)

    Source: Dosovitskiy et al. 2021, section 3.1, read backwards.
    """
    gh, gw = grid
    images = rearrange(
        patches,
        "B (gh gw) (C P1 P2) -> B C (gh P1) (gw P2)",
        gh=gh, gw=gw, C=channels, P1=patch_size, P2=patch_size,
    )                                                               # (B, C, H, W)
    return images


# Exercise 1.3


class PatchEmbedding(nn.Module):
    """Project every patch to a token of width D: the x_p·E of equation 1, done by one convolution.

    A kernel of P×P pixels that moves by P pixels sees each patch exactly once.

    (B, C, H, W) -> (B, D, gh, gw) -> (B, D, N) -> (B, N, D)

    Holds `projection`, an nn.Conv2d with kernel = stride = P and a bias.

    Raises ValueError, in the forward pass, when H or W is not divisible by P, naming the three numbers.

    Source: Dosovitskiy et al. 2021, section 3.1, equation 1.
    """

    def __init__(self, d_model: int, patch_size: int, in_channels: int = 1) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Conv2d(in_channels, d_model, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        patch_grid(images.shape[2], images.shape[3], self.patch_size)
        x = self.projection(images)                                 # (B, D, gh, gw)
        x = x.flatten(2)                                            # (B, D, N)
        x = x.transpose(1, 2)                                       # (B, N, D)
        return x


# Exercise 1.4


def conv_to_linear(conv: nn.Conv2d) -> nn.Linear:
    """The linear layer on flat patches that does what the patch embedding's convolution does to the image.

    For every image x, linear(patchify(x, P)) equals the patch embedding of x. The linear layer has its own copy of the
    weights, on the same device and in the same dtype.

    weight (D, C, P, P), bias (D) -> weight (D, C·P·P), bias (D)

    Source: Dosovitskiy et al. 2021, section 3.1, equation 1 ("a trainable linear projection").
    """
    d_model, in_channels, patch_size, _ = conv.weight.shape
    linear = nn.Linear(
        in_channels * patch_size * patch_size, d_model, device=conv.weight.device, dtype=conv.weight.dtype
    )
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))                 # (D, C·P·P)
        linear.bias.copy_(conv.bias)                                # (D)
    return linear
