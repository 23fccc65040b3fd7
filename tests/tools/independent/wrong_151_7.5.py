# Zero_grad stands in the loop: only the last micro-batch's gradient is left.
from .ch05_vit import cross_entropy


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    n = images.shape[0]
    total = 0.0
    for start in range(0, n, micro_batch):
        x = images[start:start + micro_batch]
        y = labels[start:start + micro_batch]
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y) * (len(x) / n)
        loss.backward()
        total = total + loss.detach()
    optimizer.step()
    return total
