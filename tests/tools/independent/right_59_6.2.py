# Distances from the differences of rows and of columns on four axes.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    L, B, h, T, _ = weights.shape
    rows = torch.arange(gh, device=weights.device)
    cols = torch.arange(gw, device=weights.device)
    dy = (rows[:, None, None, None] - rows[None, None, :, None]).to(weights.dtype)
    dx = (cols[None, :, None, None] - cols[None, None, None, :]).to(weights.dtype)
    d = (dy.square() + dx.square()).sqrt().mul(patch_size)
    w = weights[:, :, :, 1:, 1:].reshape(L, B, h, gh, gw, gh, gw)
    near = torch.einsum("lbhijkm,ijkm->lbhij", w, d) / w.sum((-2, -1))
    return near.mean(dim=(1, 3, 4))
