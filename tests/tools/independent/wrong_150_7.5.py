# Each micro-batch is divided by the number of micro-batches, so a smaller last one counts too much.
import torch

from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    optimizer.zero_grad()
    xs, ys = images.split(micro_batch), labels.split(micro_batch)
    total = torch.zeros((), device=images.device)
    for x, y in zip(xs, ys):
        loss = cross_entropy(model(x), y) / len(xs)
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return total
