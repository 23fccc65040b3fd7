# (B,D,gh,gw) is reshaped straight to (B,N,D) instead of being flattened and transposed, which scrambles the values.
import torch
import torch.nn as nn


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.patch_size = patch_size
        self.d_model = d_model
        self.projection = nn.Conv2d(in_channels, d_model, kernel_size=patch_size, stride=patch_size)

    def forward(self, x):
        B, C, H, W = x.shape
        if H % self.patch_size or W % self.patch_size:
            raise ValueError(f"{H}x{W} not divisible by {self.patch_size}")
        x = self.projection(x)                       # (B, D, gh, gw)
        N = x.shape[2] * x.shape[3]
        return x.reshape(B, N, self.d_model)         # (B, N, D)
