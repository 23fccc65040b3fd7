"""Chapter 1 in an expert's right ways: pixel shuffling, einops.pack, the parameters as one vector."""

import math

import torch.nn.functional as F
from einops import pack
from torch import nn
from torch.nn.utils import parameters_to_vector, skip_init, vector_to_parameters


def patchify(images, patch_size):
    if any(map(patch_size.__rmod__, size := images.shape[-2:])):
        raise ValueError(f"(H, W) = {tuple(size)} is not divisible by {patch_size}")
    return F.pixel_unshuffle(images, patch_size).flatten(2).mT


def unpatchify(patches, patch_size, grid, channels):
    return F.pixel_shuffle(patches.mT.unflatten(2, grid), patch_size)


class PatchEmbedding(nn.Module):
    def __init__(self, d_model, patch_size, in_channels=1):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, d_model, **dict.fromkeys(("kernel_size", "stride"), patch_size))

    def forward(self, images):
        (height, width), (side, _) = images.shape[-2:], self.projection.stride
        if height % side or width % side:
            raise ValueError(f"{height=} and {width=} must be multiples of {side=}")
        features = self.projection(images).movedim(1, -1)
        tokens, _ = pack([features], "b * d")
        return tokens


def conv_to_linear(conv):
    fan_in = math.prod(conv.weight.shape[1:])
    linear = skip_init(nn.Linear, fan_in, conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)
    vector_to_parameters(parameters_to_vector((conv.weight, conv.bias)), (linear.weight, linear.bias))
    return linear
