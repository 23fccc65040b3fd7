# Each half is the first D/2 columns of an encoding of width D, not an encoding of width D/2.
import torch


def sinusoidal_positions_2d(grid, d_model):
    gh, gw = grid
    if d_model % 4 != 0:
        raise ValueError(f"d_model must be divisible by 4, got {d_model}")
    half = d_model // 2
    row = sinusoidal_positions(gh, d_model)[:, :half]
    col = sinusoidal_positions(gw, d_model)[:, :half]
    row = row[:, None, :].expand(gh, gw, half)
    col = col[None, :, :].expand(gh, gw, half)
    return torch.cat([row, col], dim=-1).reshape(gh * gw, d_model)
