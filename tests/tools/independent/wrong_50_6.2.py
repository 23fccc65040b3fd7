# Normalised over all queries at once: a query that looks at patches a lot counts more.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    i = torch.arange(gh * gw, device=weights.device)
    pos = torch.stack([i // gw, i % gw], 1).to(weights.dtype) * patch_size
    d = (pos[:, None] - pos[None]).pow(2).sum(-1).sqrt()
    w = weights[..., 1:, 1:]
    return (w * d).sum((1, 3, 4)) / w.sum((1, 3, 4))
