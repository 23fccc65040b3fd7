# Interpolates with align_corners=True.
import torch
import torch.nn.functional as F
from einops import rearrange


def resize_positions(positions, grid, new_grid):
    cls, rest = positions[:, :1], positions[:, 1:]
    rest = rearrange(rest, "1 (gh gw) d -> 1 d gh gw", gh=grid[0], gw=grid[1])
    rest = F.interpolate(rest, size=tuple(new_grid), mode="bicubic", align_corners=True)
    rest = rearrange(rest, "1 d gh gw -> 1 (gh gw) d")
    return torch.cat([cls, rest], dim=1)
