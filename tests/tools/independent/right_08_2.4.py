# Adds the positions to CLS and to the patches separately and joins them afterwards.
import torch
import torch.nn as nn


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        super().__init__()
        makers = {"sinusoidal": self._fixed, "learned": self._trained}
        if positions not in makers:
            raise ValueError(f"positions is {positions!r}; choose one of {sorted(makers)}")
        self.cls_token = nn.Parameter(torch.empty(1, 1, d_model).normal_(std=0.02))
        makers[positions](n_patches + 1, d_model)

    def _fixed(self, rows, width):
        self.register_buffer("positions", sinusoidal_positions(rows, width)[None])

    def _trained(self, rows, width):
        self.register_parameter("positions", nn.Parameter(torch.empty(1, rows, width).normal_(std=0.02)))

    def forward(self, tokens):
        first, others = self.positions.split([1, self.positions.shape[1] - 1], dim=1)
        return prepend_cls(tokens + others, self.cls_token + first)
