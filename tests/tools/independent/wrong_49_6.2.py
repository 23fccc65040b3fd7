# Rows and columns of the grid exchanged: patch n in row n // gh.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    i = torch.arange(gh * gw, device=weights.device)
    pos = torch.stack([i // gh, i % gh], 1).to(weights.dtype) * patch_size
    d = (pos[:, None] - pos[None]).pow(2).sum(-1).sqrt()
    w = weights[..., 1:, 1:]
    w = w / w.sum(-1, keepdim=True)
    return (w * d).sum(-1).mean((1, 3))
