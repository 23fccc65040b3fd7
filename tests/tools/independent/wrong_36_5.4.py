# The returned tensor is made from loss.item(): 0-d and detached, but every step waits for the GPU.
import torch


def train_step(model, images, labels, optimizer, amp_dtype=None):
    model.train()
    optimizer.zero_grad()
    with torch.autocast(images.device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
        loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return torch.tensor(loss.item())
