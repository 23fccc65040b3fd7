# Attention after attention: the MLP of each block is skipped.
import torch


@torch.no_grad()
def attention_maps(model, images):
    mode = model.training
    model.eval()
    x = model.positional_encoding(model.patch_embedding(images))
    maps = []
    for block in model.blocks:
        out, w = block.attention(block.norm1(x), return_weights=True)
        maps.append(w)
        x = x + out
    model.train(mode)
    return torch.stack(maps)
