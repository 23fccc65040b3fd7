# Covers on one copy and puts the patch back each time.
import torch

from .ch01_patches import patch_grid


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    p = patch_size
    gh, gw = patch_grid(images.shape[2], images.shape[3], p)
    mode = model.training
    model.eval()
    rows = torch.arange(images.shape[0], device=images.device)
    whole = model(images)[rows, labels]
    falls = []
    work = images.detach().clone()
    for i in range(gh):
        for j in range(gw):
            box = (..., slice(i * p, i * p + p), slice(j * p, j * p + p))
            work[box] = fill
            falls.append(whole - model(work)[rows, labels])
            work[box] = images[box]
    model.train(mode)
    return torch.stack(falls, dim=1).reshape(-1, gh, gw)
