# Patches are numbered column by column (gw before gh), not row by row.
import torch
from einops import rearrange


def patchify(images, patch_size):
    _, _, H, W = images.shape
    if H % patch_size != 0 or W % patch_size != 0:
        raise ValueError(f"H={H} and W={W} must be divisible by patch_size={patch_size}")
    return rearrange(
        images, "b c (gh p1) (gw p2) -> b (gw gh) (c p1 p2)", p1=patch_size, p2=patch_size
    )
