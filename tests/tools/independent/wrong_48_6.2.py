# Rows aren't renormalised after CLS is cut off.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    i = torch.arange(gh * gw, device=weights.device)
    pos = torch.stack([i // gw, i % gw], 1).to(weights.dtype) * patch_size
    d = torch.cdist(pos, pos)
    return (weights[..., 1:, 1:] * d).sum(-1).mean((1, 3))
