# The mode is never restored.
import torch


def attention_maps(model, images):
    model.eval()
    out = []
    with torch.no_grad():
        x = model.positional_encoding(model.patch_embedding(images))
        for block in model.blocks:
            _, w = block.attention(block.norm1(x), return_weights=True)
            out.append(w)
            x = block(x)
    return torch.stack(out)
