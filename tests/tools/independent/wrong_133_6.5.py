# 3·dh rows of qkv from head·3·dh: takes qkv to lie head by head.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    attention = new.blocks[layer].attention
    dh = attention.out.in_features // attention.n_heads
    with torch.no_grad():
        attention.qkv.weight[head * 3 * dh:(head + 1) * 3 * dh] = 0.0
        attention.qkv.bias[head * 3 * dh:(head + 1) * 3 * dh] = 0.0
    return new
