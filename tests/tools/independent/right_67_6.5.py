# Silences the head's values, weight and bias, through the state dict.
import copy

import torch


def ablate_head(model, layer, head):
    twin = copy.deepcopy(model)
    attention = twin.blocks[layer].attention
    n_heads = attention.n_heads
    with torch.no_grad():
        weight = rearrange_heads(attention.qkv.weight, n_heads)
        bias = rearrange_heads(attention.qkv.bias, n_heads)
        weight[2, head].fill_(0)
        bias[2, head].fill_(0)
    return twin


def rearrange_heads(tensor, n_heads):
    """A view (3, h, dh, ...) of the first axis."""
    return tensor.view(3, n_heads, -1, *tensor.shape[1:])
