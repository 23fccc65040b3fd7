"""Chapter 1 in a beginner's right ways: loops over patches, rows glued by cat, output channels one by one."""

import torch
from torch import nn


def _count_patches(images, patch_size):
    height = images.size(2)
    width = images.size(3)
    if height % patch_size != 0 or width % patch_size != 0:
        raise ValueError("can't cut " + str(height) + "x" + str(width) + " into patches of side " + str(patch_size))
    return height // patch_size, width // patch_size


def patchify(images, patch_size):
    gh, gw = _count_patches(images, patch_size)
    all_patches = []
    for i in range(gh):
        for j in range(gw):
            top = i * patch_size
            left = j * patch_size
            patch = images[:, :, top : top + patch_size, left : left + patch_size]
            all_patches.append(patch.reshape(images.size(0), -1))
    return torch.stack(all_patches, dim=1)


def unpatchify(patches, patch_size, grid, channels):
    gh, gw = grid
    rows = []
    for i in range(gh):
        one_row = []
        for j in range(gw):
            patch = patches[:, i * gw + j]
            one_row.append(patch.reshape(patches.size(0), channels, patch_size, patch_size))
        rows.append(torch.cat(one_row, dim=3))
    return torch.cat(rows, dim=2)


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        self.patch_size = patch_size
        self.d_model = d_model
        super().__init__()
        self.projection = nn.Conv2d(
            in_channels=in_channels,
            out_channels=d_model,
            kernel_size=(patch_size, patch_size),
            stride=(patch_size, patch_size),
            padding=0,
            bias=True,
        )

    def forward(self, images):
        gh, gw = _count_patches(images, self.patch_size)
        features = self.projection(images)
        tokens = []
        for i in range(gh):
            for j in range(gw):
                tokens.append(features[:, :, i, j])
        return torch.stack(tokens, dim=1)


def conv_to_linear(conv):
    rows = []
    for kernel in conv.weight.detach():
        rows.append(kernel.reshape(-1))
    weight = torch.stack(rows)
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight = nn.Parameter(weight)
    linear.bias = nn.Parameter(conv.bias.detach().clone())
    return linear
