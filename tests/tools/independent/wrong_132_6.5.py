# Zeroes rows of out.weight (outputs of the mix) instead of the head's columns.
import copy

import torch


def ablate_head(model, layer, head):
    ablated = copy.deepcopy(model)
    attention = ablated.blocks[layer].attention
    dh = attention.out.weight.shape[0] // attention.n_heads
    with torch.no_grad():
        attention.out.weight[head * dh:(head + 1) * dh].zero_()
    return ablated
