# The hooks on norm1 are never removed.
import torch


@torch.no_grad()
def attention_maps(model, images):
    mode = model.training
    model.eval()
    seen = []
    for block in model.blocks:
        block.norm1.register_forward_hook(lambda module, args, output: seen.append(output))
    model(images)
    tokens = list(seen)
    maps = [block.attention(x, return_weights=True)[1] for block, x in zip(model.blocks, tokens)]
    model.train(mode)
    return torch.stack(maps)
