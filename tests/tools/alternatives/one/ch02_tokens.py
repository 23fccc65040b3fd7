"""Chapter 2 in other right ways: repeats, loops, exponentials, parameters first."""

import math

import torch
from torch import nn


def prepend_cls(tokens, cls_token):
    out = tokens.new_empty(tokens.shape[0], tokens.shape[1] + 1, tokens.shape[2])
    out[:, 0] = cls_token[0, 0]
    out[:, 1:] = tokens
    return out


def sinusoidal_positions(n_positions, d_model):
    table = torch.zeros(n_positions, d_model)
    for position in range(n_positions):
        for column in range(d_model):
            angle = position * math.exp(-math.log(10000) * (column // 2 * 2) / d_model)
            table[position, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return table


def sinusoidal_positions_2d(grid, d_model):
    if d_model % 4 != 0:
        raise ValueError("the width must be divisible by 4")
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    table = sinusoidal_positions(max(grid), d_model // 2)
    return torch.hstack([table[rows.flatten()], table[columns.flatten()]])


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        super().__init__()
        if positions not in ("sinusoidal", "learned"):
            raise ValueError(positions)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d_model))
        if positions == "learned":
            self.positions = nn.Parameter(torch.empty(1, n_patches + 1, d_model))
            nn.init.trunc_normal_(self.positions, std=0.02)
        else:
            self.register_buffer("positions", sinusoidal_positions(n_patches + 1, d_model)[None])

    def forward(self, tokens):
        cls = (self.cls_token + self.positions[:, :1]).expand(tokens.size(0), 1, -1)
        return torch.cat((cls, tokens + self.positions[:, 1:]), 1)


def resize_positions(positions, grid, new_grid):
    cls_row, rest = positions.split([1, grid[0] * grid[1]], dim=1)
    image = rest.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    image = nn.functional.interpolate(image, new_grid, mode="bicubic")
    return torch.cat((cls_row, image.flatten(2).mT), 1)
