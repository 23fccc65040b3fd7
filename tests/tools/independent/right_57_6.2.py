# Renormalised by dividing by 1 - the share of CLS is avoided; einsum over all, hypot for distances.
import torch
import torch.nn.functional as F


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    kw = dict(dtype=weights.dtype, device=weights.device)
    y = torch.arange(gh, **kw).repeat_interleave(gw)
    x = torch.arange(gw, **kw).repeat(gh)
    d = torch.hypot(y[:, None] - y, x[:, None] - x) * patch_size
    w = F.normalize(weights[..., 1:, 1:], p=1, dim=-1)
    b, n = w.shape[1], w.shape[-1]
    return torch.einsum("lbhqk,qk->lh", w, d) / (b * n)
