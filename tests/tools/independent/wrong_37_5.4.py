# The model is not put into training mode: after an evaluation the dropout stays off.
import torch
from contextlib import nullcontext


def train_step(model, images, labels, optimizer, amp_dtype=None):
    context = nullcontext()
    if amp_dtype is not None:
        context = torch.autocast(device_type=images.device.type, dtype=amp_dtype)
    optimizer.zero_grad()
    with context:
        logits = model(images)
        loss = cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    return loss.detach()
