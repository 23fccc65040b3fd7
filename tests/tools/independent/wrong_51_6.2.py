# City-block distance.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    i = torch.arange(gh * gw, device=weights.device)
    pos = torch.stack([i // gw, i % gw], 1).to(weights.dtype) * patch_size
    d = (pos[:, None] - pos[None]).abs().sum(-1)
    w = weights[..., 1:, 1:]
    w = w / w.sum(-1, keepdim=True)
    return (w * d).sum(-1).mean((1, 3))
