# Indexes the tables with n // gw and n % gw, one row of the result at a time.
import torch


def sinusoidal_positions_2d(grid, d_model):
    gh, gw = grid
    if d_model % 4:
        raise ValueError(f"d_model={d_model}: need a multiple of 4")
    vertical = sinusoidal_positions(gh, d_model // 2)
    horizontal = sinusoidal_positions(gw, d_model // 2)
    return torch.stack([torch.cat((vertical[n // gw], horizontal[n % gw])) for n in range(gh * gw)])
