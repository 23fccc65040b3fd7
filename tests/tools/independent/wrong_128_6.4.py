# Follows the logit of the predicted class, not of the label.
import torch

from .ch01_patches import patch_grid


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    gh, gw = patch_grid(*images.shape[2:], patch_size)
    was = model.training
    model.eval()
    logits = model(images)
    best, cls = logits.max(dim=1)
    out = torch.empty(images.shape[0], gh, gw, dtype=logits.dtype, device=logits.device)
    for r in range(gh):
        for c in range(gw):
            copy_ = images.clone()
            copy_[:, :, r * patch_size:(r + 1) * patch_size, c * patch_size:(c + 1) * patch_size] = fill
            out[:, r, c] = best - model(copy_).gather(1, cls.unsqueeze(1))[:, 0]
    model.train(was)
    return out
