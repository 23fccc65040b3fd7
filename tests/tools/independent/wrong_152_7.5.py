# Weighs by micro_batch / n, also the smaller last one.
import torch

from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    n = len(images)
    total = torch.zeros((), device=images.device)
    for start in range(0, n, micro_batch):
        x, y = images[start:start + micro_batch], labels[start:start + micro_batch]
        loss = cross_entropy(model(x), y)
        (loss * micro_batch / n).backward()
        total = total + loss.detach() * len(x) / n
    optimizer.step()
    return total
