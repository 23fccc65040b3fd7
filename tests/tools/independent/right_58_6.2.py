# CLS kept in the table with distance 0 and its column masked to 0.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    w = weights.clone()
    w[..., 0] = 0
    w = w / w.sum(-1, keepdim=True)
    ys = torch.arange(gh).view(gh, 1).expand(gh, gw).reshape(-1)
    xs = torch.arange(gw).view(1, gw).expand(gh, gw).reshape(-1)
    table = torch.zeros(gh * gw + 1, gh * gw + 1, dtype=torch.float64)
    for i in range(gh * gw):
        for j in range(gh * gw):
            table[i + 1, j + 1] = patch_size * float(((ys[i] - ys[j]) ** 2 + (xs[i] - xs[j]) ** 2) ** 0.5)
    far = (w * table.to(w)).sum(-1)[..., 1:]
    return far.mean(3).mean(1)
