# Loops over heads and queries, Python's hypot for the distances.
import math

import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    n_layers, n_heads = weights.shape[0], weights.shape[2]
    out = weights.new_empty(n_layers, n_heads)
    table = [
        [math.hypot(p // gw - q // gw, p % gw - q % gw) * patch_size for q in range(gh * gw)] for p in range(gh * gw)
    ]
    table = torch.tensor(table, dtype=weights.dtype, device=weights.device)
    for layer in range(n_layers):
        for head in range(n_heads):
            a = weights[layer, :, head, 1:, 1:]
            a = a / a.sum(2, keepdim=True)
            out[layer, head] = (a * table[None]).sum(2).mean()
    return out
