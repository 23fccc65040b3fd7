# Hooks catch the tokens and are left on the model.
import torch


@torch.no_grad()
def attention_maps(model, images):
    mode = model.training
    seen = []
    for block in model.blocks:
        block.norm1.register_forward_hook(lambda m, i, o: seen.append(o))
    model.eval()
    model(images)
    tokens = list(seen)
    maps = [b.attention(t, return_weights=True)[1] for b, t in zip(model.blocks, tokens)]
    model.train(mode)
    return torch.stack(maps)
