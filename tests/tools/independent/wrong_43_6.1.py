# Every block's attention on the first tokens: x never moves on.
import torch


@torch.no_grad()
def attention_maps(model, images):
    mode = model.training
    model.eval()
    x = model.positional_encoding(model.patch_embedding(images))
    maps = torch.stack([b.attention(b.norm1(x), return_weights=True)[1] for b in model.blocks])
    model.train(mode)
    return maps
