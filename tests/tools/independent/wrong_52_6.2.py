# In patches, not in pixels.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    i = torch.arange(gh * gw, device=weights.device)
    pos = torch.stack([i // gw, i % gw], 1).to(weights.dtype)
    d = (pos[:, None] - pos[None]).pow(2).sum(-1).sqrt()
    w = weights[..., 1:, 1:]
    w = w / w.sum(-1, keepdim=True)
    return (w * d).sum(-1).mean((1, 3))
