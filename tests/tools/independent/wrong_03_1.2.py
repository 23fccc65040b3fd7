# Every patch is put back transposed: the two pixel axes are swapped when the image is assembled.
import torch


def unpatchify(patches, patch_size, grid, channels):
    B = patches.shape[0]
    gh, gw = grid
    P = patch_size
    x = patches.reshape(B, gh, gw, channels, P, P)
    x = x.permute(0, 3, 1, 5, 2, 4)                  # (B, C, gh, P, gw, P)
    return x.reshape(B, channels, gh * P, gw * P)
