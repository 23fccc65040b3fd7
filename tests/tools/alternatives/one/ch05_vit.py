"""Chapter 5 in other right ways: a Sequential of blocks, log_softmax, min and max, running sums."""

import math

import torch
from torch import nn

from .ch01_patches import PatchEmbedding
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, n_classes, d_model, n_layers, n_heads, mlp_ratio=4,
                 positions="sinusoidal", dropout=0.0):  # fmt: skip
        super().__init__()
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        for side in size:
            if side % patch_size:
                raise ValueError("the patches would not fill the image")
        n_patches = math.prod(side // patch_size for side in size)
        self.patch_embedding = PatchEmbedding(d_model, patch_size, in_channels)
        self.positional_encoding = PositionalEncoding(d_model, n_patches, positions)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*[EncoderBlock(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers)])
        self.norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_classes)

    def forward(self, images):
        tokens = self.blocks(self.dropout(self.positional_encoding(self.patch_embedding(images))))
        return self.head(self.norm(tokens[:, 0]))


def cross_entropy(logits, labels, label_smoothing=0.0):
    log_p = torch.log_softmax(logits, dim=1, dtype=torch.float32)
    target = torch.full_like(log_p, label_smoothing / logits.shape[1])
    target[torch.arange(len(labels)), labels] += 1 - label_smoothing
    return -(target * log_p).sum() / len(labels)


def warmup_cosine(step, warmup_steps, total_steps):
    if warmup_steps and step <= warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return math.cos(math.pi * progress / 2) ** 2


def train_step(model, images, labels, optimizer, amp_dtype=None):
    model.train(True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    if amp_dtype is None:
        loss = cross_entropy(model(images), labels)
    else:
        with torch.autocast(device_type=images.device.type, dtype=amp_dtype):
            logits = model(images)
        loss = cross_entropy(logits.to(torch.float32), labels)
    loss.backward()
    optimizer.step()
    return loss.detach().clone()


def evaluate(model, images, labels, batch_size):
    mode = model.training
    model.eval()
    right = 0
    try:
        with torch.inference_mode():
            for batch, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True):
                right += int((model(batch).max(dim=1).indices == truth).sum())
    finally:
        model.train(mode)
    return right / labels.numel()
