# cdist on a meshgrid of centres with the half patch added, einsum for the mean.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    y = (torch.arange(gh) + 0.5) * patch_size
    x = (torch.arange(gw) + 0.5) * patch_size
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    c = torch.stack([yy.reshape(-1), xx.reshape(-1)], 1).double()
    d = (c[:, None] - c[None]).norm(dim=-1).to(dtype=weights.dtype, device=weights.device)
    patches = weights[:, :, :, 1:, 1:]
    share = patches.sum(-1)
    top = torch.einsum("lbhqk,qk->lbhq", patches, d)
    return torch.einsum("lbhq->lh", top / share) / (weights.size(1) * gh * gw)
