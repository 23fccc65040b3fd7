# The model itself is changed and returned.
import torch


def ablate_head(model, layer, head):
    a = model.blocks[layer].attention
    dh = a.out.in_features // a.n_heads
    with torch.no_grad():
        a.out.weight[:, head * dh:(head + 1) * dh] = 0
    return model
