"""Chapter 2 in an expert's right ways: padding, complex exponentials, an embedding lookup, resizing as two matrices."""

import math

import torch
import torch.nn.functional as F
from einops import einsum
from torch import nn


def prepend_cls(tokens, cls_token):
    return F.pad(tokens, (0, 0, 1, 0)) + F.pad(cls_token, (0, 0, 0, tokens.shape[1]))


def sinusoidal_positions(n_positions, d_model):
    exponents = torch.arange(0, d_model, 2, dtype=torch.float64) / d_model
    angles = torch.outer(torch.arange(n_positions, dtype=torch.float64), torch.exp(-math.log(1e4) * exponents))
    circle = torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(circle).flip(-1).flatten(1)[:, :d_model].to(torch.get_default_dtype())


def sinusoidal_positions_2d(grid, d_model):
    if d_model & 3:
        raise ValueError(f"{d_model=} is not divisible by 4")
    cells = torch.cartesian_prod(*map(torch.arange, grid))
    return F.embedding(cells, sinusoidal_positions(max(grid), d_model >> 1)).flatten(1)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        super().__init__()
        match positions:
            case "sinusoidal":
                self.positions = nn.Buffer(sinusoidal_positions(n_patches + 1, d_model).unsqueeze(0))
            case "learned":
                self.positions = nn.Parameter(torch.empty(1, n_patches + 1, d_model).normal_(std=0.02))
            case _:
                raise ValueError(f"{positions=}")
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d_model))

    def forward(self, tokens):
        return torch.add(self.positions, prepend_cls(tokens, self.cls_token))


def _bicubic_matrix(like, size, new_size):
    identity = torch.eye(size, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None, None], (new_size, size), mode="bicubic")[0, 0]


def resize_positions(positions, grid, new_grid):
    vertical, horizontal = (_bicubic_matrix(positions, *sizes) for sizes in zip(grid, new_grid, strict=True))
    table = positions[:, 1:].unflatten(1, grid)
    table = einsum(vertical, horizontal, table, "new_gh gh, new_gw gw, one gh gw d -> one new_gh new_gw d")
    return torch.concatenate([positions.narrow(1, 0, 1), table.flatten(1, 2)], dim=1)
