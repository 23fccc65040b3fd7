"""Chapter 2 in a beginner's right ways: a repeated CLS, column by column, an index buffer that is not persistent."""

import torch
import torch.nn.functional as F
from einops import repeat
from torch import nn


def prepend_cls(tokens, cls_token):
    copies = repeat(cls_token, "one token d_model -> (copies one) token d_model", copies=tokens.shape[0])
    return torch.cat([copies, tokens], dim=1)


def sinusoidal_positions(n_positions, d_model):
    p = torch.arange(n_positions, dtype=torch.float32)
    columns = []
    for column in range(d_model):
        two_i = column if column % 2 == 0 else column - 1
        angle = p / (10000.0 ** (two_i / d_model))
        if column % 2 == 0:
            columns.append(torch.sin(angle))
        else:
            columns.append(torch.cos(angle))
    return torch.stack(columns, dim=1)


def sinusoidal_positions_2d(grid, d_model):
    quarter, remainder = divmod(d_model, 4)
    if remainder != 0:
        raise ValueError("d_model must be a multiple of four but is " + str(d_model))
    gh, gw = grid
    row_table = sinusoidal_positions(gh, 2 * quarter)
    column_table = sinusoidal_positions(gw, 2 * quarter)
    table = torch.zeros(gh * gw, d_model)
    patch_number = 0
    for row in range(gh):
        for column in range(gw):
            table[patch_number, : 2 * quarter] = row_table[row]
            table[patch_number, 2 * quarter :] = column_table[column]
            patch_number += 1
    return table


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, n_patches, positions="sinusoidal"):
        nn.Module.__init__(self)
        if positions == "learned":
            self.register_parameter("positions", self._noise(n_patches + 1, d_model))
        elif positions == "sinusoidal":
            table = sinusoidal_positions(n_patches + 1, d_model)
            self.register_buffer("positions", table.reshape(1, n_patches + 1, d_model), persistent=True)
        else:
            raise ValueError("unknown kind of positions: " + str(positions))
        self.register_buffer("token_numbers", torch.arange(n_patches + 1), persistent=False)
        self.cls_token = self._noise(1, d_model)

    @staticmethod
    def _noise(n_tokens, d_model):
        return nn.Parameter(torch.normal(mean=0.0, std=0.05, size=(1, n_tokens, d_model)))

    def forward(self, tokens):
        sequence = prepend_cls(tokens, self.cls_token)
        return sequence + torch.index_select(self.positions, 1, self.token_numbers)


def resize_positions(positions, grid, new_grid):
    gh, gw = grid
    new_gh, new_gw = new_grid
    rows = []
    for i in range(gh):
        start = 1 + i * gw
        rows.append(positions[:, start : start + gw, :])
    picture = torch.stack(rows, dim=1)
    picture = picture.permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=(new_gh, new_gw), mode="bicubic", align_corners=False, antialias=False)
    pieces = [positions[:, 0:1, :]]
    for i in range(new_gh):
        pieces.append(picture[:, :, i, :].permute(0, 2, 1))
    return torch.cat(pieces, dim=1)
