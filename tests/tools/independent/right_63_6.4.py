# A mask per patch by kron, all covered versions of one image as one batch, on a deep copy.
import copy

import torch


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    b, c, height, width = images.shape
    if height % patch_size != 0 or width % patch_size != 0:
        raise ValueError(f"{height}x{width} is not divisible by {patch_size}")
    gh, gw = height // patch_size, width // patch_size
    judge = copy.deepcopy(model).eval()
    cells = torch.eye(gh * gw, device=images.device).view(gh * gw, gh, gw)
    block = torch.ones(patch_size, patch_size, device=images.device)
    masks = torch.stack([torch.kron(cell, block) for cell in cells]).bool().unsqueeze(1)
    with torch.inference_mode():
        rows = []
        for image, label in zip(images, labels):
            versions = image.expand(gh * gw, c, height, width).masked_fill(masks, fill)
            logits = judge(torch.cat([image[None], versions]))[:, label]
            rows.append((logits[0] - logits[1:]).reshape(gh, gw))
    return torch.stack(rows)
