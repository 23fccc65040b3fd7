# All coverings of one image in one batch, with masks and where.
import torch


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    B, C, H, W = images.shape
    if H % patch_size or W % patch_size:
        raise ValueError("patch_size does not fit")
    gh, gw = H // patch_size, W // patch_size
    was = model.training
    model.eval()
    masks = torch.zeros(gh * gw, 1, H, W, dtype=torch.bool, device=images.device)
    for i in range(gh * gw):
        r, c = divmod(i, gw)
        masks[i, :, r * patch_size:(r + 1) * patch_size, c * patch_size:(c + 1) * patch_size] = True
    rows = []
    with torch.no_grad():
        for image, label in zip(images, labels):
            covered = torch.where(masks, torch.full_like(image, fill), image)
            before = model(image[None])[0, label]
            rows.append((before - model(covered)[:, label]).view(gh, gw))
    model.train(was)
    return torch.stack(rows)
