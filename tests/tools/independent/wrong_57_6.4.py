# Patches stay covered: the next is covered on top.
import torch


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    if images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ValueError("no")
    gh, gw = images.shape[2] // patch_size, images.shape[3] // patch_size
    mode = model.training
    model.eval()
    rows = torch.arange(len(images))
    base = model(images)[rows, labels]
    x = images.clone()
    out = torch.zeros(len(images), gh, gw, dtype=base.dtype)
    for i in range(gh):
        for j in range(gw):
            x[:, :, i * patch_size:(i + 1) * patch_size, j * patch_size:(j + 1) * patch_size] = fill
            out[:, i, j] = base - model(x)[rows, labels]
    model.train(mode)
    return out
