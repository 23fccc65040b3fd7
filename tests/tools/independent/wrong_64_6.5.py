# The head's value weights become zero, its value bias stays: a constant still reaches the stream.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    a = new.blocks[layer].attention
    d = a.out.in_features
    dh = d // a.n_heads
    with torch.no_grad():
        a.qkv.weight[2 * d + head * dh:2 * d + (head + 1) * dh] = 0
    return new
