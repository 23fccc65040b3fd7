# Queries are silenced: the head then looks at all tokens alike, and still speaks.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    a = new.blocks[layer].attention
    dh = a.out.in_features // a.n_heads
    with torch.no_grad():
        a.qkv.weight[head * dh:(head + 1) * dh] = 0
        a.qkv.bias[head * dh:(head + 1) * dh] = 0
    return new
