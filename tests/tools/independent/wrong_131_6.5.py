# Zeroes the head's value rows in qkv.weight but not in qkv.bias, so the head still adds its value bias.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    attention = new.blocks[layer].attention
    d = attention.out.in_features
    dh = d // attention.n_heads
    with torch.no_grad():
        attention.qkv.weight[2 * d + head * dh: 2 * d + (head + 1) * dh] = 0
    return new
