"""Chapter 5 in a beginner's right ways: appended blocks, a loop over classes, plain ifs, while, zeroed gradients."""

import math

import torch
from torch import nn

from .ch01_patches import PatchEmbedding
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm


class VisionTransformer(nn.Module):
    def __init__(
        self,
        image_size,
        patch_size,
        in_channels,
        n_classes,
        d_model,
        n_layers,
        n_heads,
        mlp_ratio=4,
        positions="sinusoidal",
        dropout=0.0,
    ):
        super().__init__()
        if type(image_size) is int:
            image_size = [image_size, image_size]
        height, width = image_size
        if height % patch_size != 0 or width % patch_size != 0:
            raise ValueError("image size is no multiple of patch size")
        if d_model % n_heads != 0:
            raise ValueError("d_model is no multiple of n_heads")
        self.head = nn.Linear(d_model, n_classes)
        self.norm = LayerNorm(d_model)
        self.blocks = nn.ModuleList()
        for _ in range(n_layers):
            self.blocks.append(EncoderBlock(d_model, n_heads, mlp_ratio=mlp_ratio, dropout=dropout))
        self.embedding_dropout = nn.Dropout(dropout)
        self.positional_encoding = PositionalEncoding(
            d_model=d_model, n_patches=(height * width) // (patch_size * patch_size), positions=positions
        )
        self.patch_embedding = PatchEmbedding(d_model=d_model, patch_size=patch_size, in_channels=in_channels)

    def _tokens(self, images):
        tokens = self.patch_embedding(images)
        tokens = self.positional_encoding(tokens)
        return self.embedding_dropout(tokens)

    def forward(self, images):
        tokens = self._tokens(images)
        for number in range(len(self.blocks)):
            tokens = self.blocks[number](tokens)
        summary = self.norm(tokens)[:, 0, :]
        return self.head(summary)


def cross_entropy(logits, labels, label_smoothing=0.0):
    n_classes = logits.shape[1]
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    largest = logits.max(dim=1).values
    total = torch.zeros_like(largest)
    for k in range(n_classes):
        total = total + torch.exp(logits[:, k] - largest)
    log_total = torch.log(total)
    loss = torch.zeros_like(largest)
    for k in range(n_classes):
        minus_log_p = log_total - (logits[:, k] - largest)
        share = (labels == k).to(logits.dtype) * (1 - label_smoothing) + label_smoothing / n_classes
        loss = loss + share * minus_log_p
    return loss.sum() / logits.shape[0]


def warmup_cosine(step, warmup_steps, total_steps):
    if step >= total_steps:
        factor = 0.0
    elif step >= warmup_steps:
        left = (total_steps - step) / (total_steps - warmup_steps)
        factor = math.sin(math.pi / 2 * left) ** 2
    else:
        factor = step * (1 / warmup_steps)
    return factor


def train_step(model, images, labels, optimizer, amp_dtype=None):
    if not model.training:
        model.train()
    optimizer.zero_grad(set_to_none=False)
    if amp_dtype is not None:
        with torch.autocast(device_type=images.device.type, dtype=amp_dtype):
            logits = model(images)
        logits = logits.to(dtype=torch.float32)
    else:
        logits = model(images)
    loss = cross_entropy(logits, labels)
    loss.backward()
    answer = loss.clone().detach()
    optimizer.step()
    return answer


def evaluate(model, images, labels, batch_size):
    modes = []
    for module in model.modules():
        modes.append((module, module.training))
    model.eval()
    n_images = images.shape[0]
    n_right = 0
    first = 0
    while first < n_images:
        last = min(first + batch_size, n_images)
        with torch.no_grad():
            logits = model(images[first:last])
        guesses = logits.argmax(dim=1).tolist()
        truths = labels[first:last].tolist()
        for i in range(last - first):
            if guesses[i] == truths[i]:
                n_right += 1
        first = last
    for module, mode in modes:
        module.training = mode
    return n_right / n_images
