# Writes patch after patch into an empty image with two plain loops.
import torch


def unpatchify(patches, patch_size, grid, channels):
    rows, cols = grid
    canvas = patches.new_empty(len(patches), channels, rows * patch_size, cols * patch_size)
    for r in range(rows):
        for c in range(cols):
            tile = patches[:, r * cols + c].reshape(-1, channels, patch_size, patch_size)
            top, left = r * patch_size, c * patch_size
            canvas[:, :, top : top + patch_size, left : left + patch_size] = tile
    return canvas
