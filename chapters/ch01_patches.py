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
    # 1. gh and gw, from patch_grid (above), which raises the error for sizes that don't divide
    # 2. split H into (gh, P) and W into (gw, P)
    # 3. move the axes: patches first, row by row; then the pixels of one patch as (C, P, P)
    # 4. flatten both groups:   (B, N, C·P·P)
    raise NotImplementedError("exercise 1.1 is yours to write; for a hint: vitcourse hint 1.1")


# Exercise 1.2


def unpatchify(
    patches: Float[Tensor, "B N C*P*P"], patch_size: int, grid: tuple[int, int], channels: int
) -> Float[Tensor, "B C H W"]:
    """Put flat patches together again: the exact inverse of patchify.

    grid is (gh, gw), the rows and columns of patches; channels is C.

    (B, N, C·P·P) -> (B, C, H, W)

    Source: Dosovitskiy et al. 2021, section 3.1, read backwards.
    """
    # the same axes as in 1.1, the other way round
    raise NotImplementedError("exercise 1.2 is yours to write; for a hint: vitcourse hint 1.2")


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
        # self.projection: a convolution from in_channels to d_model whose windows are the patches
        raise NotImplementedError("exercise 1.3 is yours to write; for a hint: vitcourse hint 1.3")

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N D"]:
        # 1. the error for sizes that don't divide, from patch_grid (above)
        # 2. project:                       (B, C, H, W) -> (B, D, gh, gw)
        # 3. one axis for all patches:      (B, D, gh, gw) -> (B, D, N)
        # 4. tokens first, features last:   (B, D, N) -> (B, N, D)
        raise NotImplementedError("exercise 1.3 is yours to write; for a hint: vitcourse hint 1.3")


# Exercise 1.4


def conv_to_linear(conv: nn.Conv2d) -> nn.Linear:
    """The linear layer on flat patches that does what the patch embedding's convolution does to the image.

    For every image x, linear(patchify(x, P)) equals the patch embedding of x. The linear layer has its own copy of the
    weights, on the same device and in the same dtype.

    weight (D, C, P, P), bias (D) -> weight (D, C·P·P), bias (D)

    Source: Dosovitskiy et al. 2021, section 3.1, equation 1 ("a trainable linear projection").
    """
    # 1. D, C and P, read off conv.weight
    # 2. an nn.Linear of the right size, device and dtype
    # 3. copy weight and bias into it, without a gradient (torch.no_grad)
    raise NotImplementedError("exercise 1.4 is yours to write; for a hint: vitcourse hint 1.4")
