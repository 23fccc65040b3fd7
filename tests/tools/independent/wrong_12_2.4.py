# The sinusoidal buffer is registered with persistent=False, so it is missing from the state dict.
import torch
import torch.nn as nn


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, d_model) * 0.02)
        if positions == "sinusoidal":
            table = sinusoidal_positions(n_patches + 1, d_model).unsqueeze(0)
            self.register_buffer("positions", table, persistent=False)
        elif positions == "learned":
            self.positions = nn.Parameter(torch.randn(1, n_patches + 1, d_model) * 0.02)
        else:
            raise ValueError(f"unknown positions: {positions!r}")

    def forward(self, x):
        return prepend_cls(x, self.cls_token) + self.positions
