# All patches of the whole batch at once, logits picked by a product with one-hot labels.
import torch
import torch.nn.functional as F

from .ch01_patches import patch_grid


@torch.inference_mode()
def occlusion_map(model, images, labels, patch_size, fill=0.0):
    b, c, height, width = images.shape
    gh, gw = patch_grid(height, width, patch_size)
    mode = {name: module.training for name, module in model.named_modules()}
    model.eval()
    number = torch.arange(height, device=images.device)[:, None] // patch_size * gw + torch.arange(width, device=images.device) // patch_size
    cover = number[None] == torch.arange(gh * gw, device=images.device)[:, None, None]
    many = torch.where(cover[None, :, None], torch.as_tensor(fill, dtype=images.dtype, device=images.device), images[:, None])
    whole = model(images)
    logits = model(many.flatten(0, 1)).unflatten(0, (b, gh * gw))
    for name, module in model.named_modules():
        module.training = mode[name]
    chosen = F.one_hot(labels, whole.shape[-1]).to(whole.dtype)
    return ((whole * chosen).sum(-1)[:, None] - torch.einsum("bnk,bk->bn", logits, chosen)).view(b, gh, gw)
