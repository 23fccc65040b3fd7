# CLS gets a row of zeros and the patches start at row 0 of the table; the contract gives row 0 to CLS.
import torch
import torch.nn as nn


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d_model))
        if positions == "sinusoidal":
            table = sinusoidal_positions(n_patches, d_model)
            table = torch.cat([torch.zeros(1, d_model), table], dim=0)
            self.register_buffer("positions", table[None])
        elif positions == "learned":
            self.positions = nn.Parameter(torch.zeros(1, n_patches + 1, d_model))
            nn.init.trunc_normal_(self.positions, std=0.02)
        else:
            raise ValueError("positions must be 'sinusoidal' or 'learned', not " + repr(positions))

    def forward(self, tokens):
        tokens = prepend_cls(tokens, self.cls_token)
        return tokens + self.positions
