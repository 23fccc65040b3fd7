"""Chapter 1 in other right ways: unfold, loops, views."""

import torch
import torch.nn.functional as F
from torch import nn


def patchify(images, patch_size):
    _, _, height, width = images.shape
    if height % patch_size != 0 or width % patch_size != 0:
        raise ValueError(f"H={height}, W={width} not divisible by P={patch_size}")
    return F.unfold(images, kernel_size=patch_size, stride=patch_size).transpose(1, 2)


def unpatchify(patches, patch_size, grid, channels):
    rows, columns = grid
    images = patches.new_empty(patches.shape[0], channels, rows * patch_size, columns * patch_size)
    for row in range(rows):
        for column in range(columns):
            patch = patches[:, row * columns + column].reshape(-1, channels, patch_size, patch_size)
            top, left = row * patch_size, column * patch_size
            images[:, :, top : top + patch_size, left : left + patch_size] = patch
    return images


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, d_model, patch_size, patch_size)

    def forward(self, images):
        side = self.projection.kernel_size[0]
        if any(size % side for size in images.shape[-2:]):
            raise ValueError("{}x{} pixels, patches of {}".format(*images.shape[-2:], side))
        return (
            torch.einsum(
                "bnp,dp->bnd", patchify(images, side), self.projection.weight.reshape(self.projection.out_channels, -1)
            )
            + self.projection.bias
        )


def conv_to_linear(conv):
    linear = nn.Linear(conv.weight[0].numel(), conv.out_channels).to(conv.weight)
    linear.load_state_dict({"weight": conv.weight.view(conv.out_channels, -1), "bias": conv.bias})
    return linear
