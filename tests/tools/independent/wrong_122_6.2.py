# All weights are pooled and divided once, so queries that look at CLS little count more than others.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    n = gh * gw
    index = torch.arange(n, device=weights.device)
    y = (index // gw).to(weights.dtype)
    x = (index % gw).to(weights.dtype)
    d = patch_size * torch.sqrt((y[:, None] - y[None]) ** 2 + (x[:, None] - x[None]) ** 2)
    w = weights[..., 1:, 1:]
    return (w * d).sum(dim=(1, 3, 4)) / w.sum(dim=(1, 3, 4))
