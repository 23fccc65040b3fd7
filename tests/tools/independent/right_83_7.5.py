# Gradients by torch.autograd.grad, added up by hand.
import torch

from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad(set_to_none=True)
    params = [p for p in model.parameters() if p.requires_grad]
    losses = []
    for x, y in zip(torch.split(images, micro_batch), torch.split(labels, micro_batch)):
        loss = cross_entropy(model(x), y) * x.shape[0]
        grads = torch.autograd.grad(loss, params, allow_unused=True)
        for p, g in zip(params, grads):
            if g is not None:
                p.grad = g / images.shape[0] if p.grad is None else p.grad + g / images.shape[0]
        losses.append(loss.detach())
        del loss, grads
    optimizer.step()
    return torch.stack(losses).sum() / images.shape[0]
