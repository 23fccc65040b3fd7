# The maps stay on the blocks, as buffers.
import torch


@torch.no_grad()
def attention_maps(model, images):
    was_training = model.training
    model.eval()
    x = model.positional_encoding(model.patch_embedding(images))
    maps = []
    for block in model.blocks:
        _, weights = block.attention(block.norm1(x), return_weights=True)
        maps.append(weights)
        block.register_buffer("last_weights", weights)
        x = block(x)
    model.train(was_training)
    return torch.stack(maps)
