# meshgrid with indexing='xy' mixes up row and column: the first half encodes the column and the second the row.
import torch


def sinusoidal_positions_2d(grid, d_model):
    gh, gw = grid
    if d_model % 4 != 0:
        raise ValueError(f"d_model={d_model} must be divisible by 4")
    half = d_model // 2
    rows, cols = torch.meshgrid(torch.arange(gw), torch.arange(gh), indexing="xy")
    table = sinusoidal_positions(max(gh, gw), half)
    return torch.cat([table[rows.flatten()], table[cols.flatten()]], dim=1)
