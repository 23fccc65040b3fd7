# The copy comes in evaluation mode, its parameters frozen.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model).eval().requires_grad_(False)
    a = new.blocks[layer].attention
    dh = a.out.in_features // a.n_heads
    a.out.weight[:, head * dh:(head + 1) * dh] = 0
    return new
