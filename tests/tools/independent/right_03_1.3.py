# The same three steps with reshape and an einsum that only transposes; the check sits in a private helper.
import torch
import torch.nn as nn


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, d_model, patch_size, patch_size)

    def _must_fit(self, images):
        side = self.projection.kernel_size[0]
        height, width = images.shape[2], images.shape[3]
        if height % side or width % side:
            raise ValueError(f"H={height}, W={width} do not divide by P={side}")

    def forward(self, images):
        self._must_fit(images)
        maps = self.projection(images)                       # (B, D, gh, gw)
        rows = maps.reshape(maps.size(0), maps.size(1), -1)  # (B, D, N)
        return torch.einsum("bdn->bnd", rows)                # (B, N, D)
