# The falls are stacked along the first axis and reshaped: images and patches are mixed up.
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
    for i in range(gh):
        for j in range(gw):
            covered = images.clone()
            covered[:, :, i * p:(i + 1) * p, j * p:(j + 1) * p] = fill
            falls.append(whole - model(covered)[rows, labels])
    model.train(mode)
    return torch.stack(falls).reshape(-1, gh, gw)
