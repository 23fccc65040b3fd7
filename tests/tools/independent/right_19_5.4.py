# torch.autograd.grad and assignment to .grad instead of zero_grad and backward: old gradients are overwritten.
import torch


def train_step(model, images, labels, optimizer, amp_dtype=None):
    model.train()
    with torch.autocast(images.device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
        logits = model(images)
    loss = cross_entropy(logits.float(), labels)
    weights = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients):
        weight.grad = gradient
    optimizer.step()
    return loss.detach()
