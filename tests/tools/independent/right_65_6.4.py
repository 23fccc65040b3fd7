# Through patchify and unpatchify, filling one row of patches at a time.
import torch

from .ch01_patches import patch_grid


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    from .ch01_patches import patchify, unpatchify

    gh, gw = patch_grid(images.shape[2], images.shape[3], patch_size)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            base = torch.stack([row[label] for row, label in zip(model(images), labels)])
            patches = patchify(images, patch_size)
            falls = []
            for n in range(gh * gw):
                other = patches.clone()
                other[:, n] = fill
                logits = model(unpatchify(other, patch_size, (gh, gw), images.shape[1]))
                falls.append(base - torch.stack([row[label] for row, label in zip(logits, labels)]))
            return rearrange_map(torch.stack(falls, 1), gh, gw)
    finally:
        model.train(was_training)


def rearrange_map(falls, gh, gw):
    """(B, N) -> (B, gh, gw)."""
    return falls.view(falls.shape[0], gh, gw)
