# Never eval(): in training mode dropout is on. Gradients are detached at the end.
import torch


def attention_maps(model, images):
    x = model.positional_encoding(model.patch_embedding(images))
    x = model.dropout(x) if hasattr(model, "dropout") else x
    maps = []
    for block in model.blocks:
        maps.append(block.attention(block.norm1(x), return_weights=True)[1].detach())
        x = block(x)
    return torch.stack(maps)
