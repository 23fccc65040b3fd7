# F.unfold gives the columns in (C,P,P) order, row by row; one transpose finishes it.
import torch
import torch.nn.functional as F


def patchify(images, patch_size):
    height, width = images.shape[-2:]
    if any(side % patch_size for side in (height, width)):
        raise ValueError(f"cannot cut {height} x {width} pixels into patches of {patch_size}")
    return F.unfold(images, kernel_size=patch_size, stride=patch_size).transpose(1, 2)
