# A shallow copy: both models hold the same tensors, a new layer is put in with a frozen weight.
import copy

import torch
from torch import nn


def ablate_head(model, layer, head):
    new = copy.copy(model)
    new._modules = dict(model._modules)
    new.blocks = nn.ModuleList([copy.copy(b) for b in model.blocks])
    block = new.blocks[layer]
    block._modules = dict(block._modules)
    block.attention = copy.deepcopy(block.attention)
    a = block.attention
    dh = a.out.in_features // a.n_heads
    with torch.no_grad():
        a.out.weight[:, head * dh:(head + 1) * dh] = 0
    return new
