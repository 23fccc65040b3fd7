# The patch is put back after each turn, on one private copy; the result is filled in cell by cell.
import torch


@torch.inference_mode()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    mode = model.training
    model.train(False)
    x = images.clone()
    height, width = images.shape[-2:]
    if height % patch_size != 0 or width % patch_size != 0:
        raise ValueError(f"{height} x {width} by {patch_size}")
    rows, cols = height // patch_size, width // patch_size
    index = torch.arange(len(images), device=images.device)
    base = model(x)[index, labels]
    result = base.new_zeros(len(images), rows, cols)
    for i in range(rows):
        for j in range(cols):
            window = (..., slice(i * patch_size, (i + 1) * patch_size), slice(j * patch_size, (j + 1) * patch_size))
            saved = x[window].clone()
            x[window] = fill
            result[:, i, j] = base - model(x)[index, labels]
            x[window] = saved
    model.train(mode)
    return result
