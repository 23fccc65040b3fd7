# Sums of losses; gradients divided once before the step.
from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    for p in model.parameters():
        p.grad = None
    optimizer.zero_grad()
    model.train()
    seen = 0
    mean = None
    while seen < len(labels):
        part = slice(seen, seen + micro_batch)
        loss = cross_entropy(model(images[part]), labels[part]) * len(labels[part])
        loss.backward()
        mean = loss.detach().clone() if mean is None else mean + loss.detach()
        seen += len(labels[part])
        del loss
    for p in model.parameters():
        if p.grad is not None:
            p.grad.div_(seen)
    optimizer.step()
    return mean / seen
