# A deep copy in evaluation mode; the block's two residual lines written out, so attention runs once a layer.
import copy

import torch


def attention_maps(model, images):
    vit = copy.deepcopy(model).eval()
    rows = []
    with torch.no_grad():
        tokens = vit.positional_encoding(vit.patch_embedding(images))
        for block in vit.blocks:
            out, w = block.attention(block.norm1(tokens), return_weights=True)
            rows += [w]
            tokens = tokens + out
            tokens = tokens + block.mlp(block.norm2(tokens))
    return torch.cat([w.unsqueeze(0) for w in rows])
