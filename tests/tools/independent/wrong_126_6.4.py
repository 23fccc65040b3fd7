# The copy is made once, so patches stay covered and pile up.
import torch

from .ch01_patches import patch_grid


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    gh, gw = patch_grid(images.shape[-2], images.shape[-1], patch_size)
    training = model.training
    model.eval()
    index = torch.arange(len(images), device=images.device)
    base = model(images)[index, labels]
    covered = images.clone()
    falls = base.new_zeros(len(images), gh, gw)
    for i in range(gh):
        for j in range(gw):
            covered[:, :, i * patch_size:(i + 1) * patch_size, j * patch_size:(j + 1) * patch_size] = fill
            falls[:, i, j] = base - model(covered)[index, labels]
    model.train(training)
    return falls
