# Chunks by index lists, generator of shares, mul by share.
import torch

from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    n = len(images)
    total = torch.zeros((), device=images.device)
    for start in range(0, n, micro_batch):
        pick = torch.arange(start, min(n, start + micro_batch), device=images.device)
        x, y = images.index_select(0, pick), labels.index_select(0, pick)
        loss = cross_entropy(model(x), y)
        (loss * len(x) / n).backward()
        total = total + loss.detach() * len(x) / n
    optimizer.step()
    return total
