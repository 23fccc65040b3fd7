# The fall of the largest logit, not of the label's.
import torch


@torch.no_grad()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    if images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ValueError("no")
    gh, gw = images.shape[2] // patch_size, images.shape[3] // patch_size
    mode = model.training
    model.eval()
    base = model(images).max(-1).values
    out = []
    for i in range(gh):
        for j in range(gw):
            x = images.clone()
            x[:, :, i * patch_size:(i + 1) * patch_size, j * patch_size:(j + 1) * patch_size] = fill
            out.append(base - model(x).max(-1).values)
    model.train(mode)
    return torch.stack(out, 1).view(len(images), gh, gw)
