# An image whose sides P does not divide is silently cropped by the convolution; no ValueError.
import torch
import torch.nn as nn


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, d_model, kernel_size=patch_size, stride=patch_size)

    def forward(self, x):
        x = self.projection(x)       # (B, D, gh, gw)
        x = x.flatten(2)             # (B, D, N)
        x = x.transpose(1, 2)        # (B, N, D)
        return x
