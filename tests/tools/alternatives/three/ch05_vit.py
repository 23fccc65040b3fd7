"""Chapter 5 in an expert's right ways: the model as one Sequential, one_hot and lerp, a closure, context managers."""

import cmath
import contextlib
import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from einops import einsum
from torch import nn
from torch.nn.modules.utils import _pair

from .ch01_patches import PatchEmbedding
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm


class _Summary(nn.Module):
    def forward(self, tokens):
        return tokens.select(1, 0)


class VisionTransformer(nn.Sequential):
    def __init__(self, image_size, patch_size, in_channels, n_classes, d_model, n_layers, n_heads, mlp_ratio=4,
                 positions="sinusoidal", dropout=0.0):  # fmt: skip
        (gh, top), (gw, left) = (divmod(side, patch_size) for side in _pair(image_size))
        if top or left:
            raise ValueError(f"{patch_size=} does not divide {image_size=}")
        if d_model % n_heads:
            raise ValueError(f"{n_heads=} does not divide {d_model=}")
        blocks = (EncoderBlock(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers))
        super().__init__(
            OrderedDict(
                patch_embedding=PatchEmbedding(d_model, patch_size, in_channels),
                positional_encoding=PositionalEncoding(d_model, gh * gw, positions),
                dropout=nn.Dropout(dropout),
                blocks=nn.Sequential(*blocks),
                summary=_Summary(),
                norm=LayerNorm(d_model),
                head=nn.Linear(d_model, n_classes),
            )
        )


def cross_entropy(logits, labels, label_smoothing=0.0):
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    target = F.one_hot(labels.long(), n_classes := logits.shape[-1]).to(logits)
    target = torch.lerp(target, torch.full_like(target, 1 / n_classes), label_smoothing)
    return (shifted.exp().sum(-1).log() - einsum(target, shifted, "b k, b k -> b")).mean()


def warmup_cosine(step, warmup_steps, total_steps):
    rise = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    turn = min(max(step - warmup_steps, 0) / max(total_steps - warmup_steps, 1), 1.0)
    return rise * (1 + cmath.rect(1, math.pi * turn).real) / 2 * (step < total_steps)


def train_step(model, images, labels, optimizer, amp_dtype=None):
    def closure():
        optimizer.zero_grad(set_to_none=True)
        with contextlib.ExitStack() as stack:
            if amp_dtype:
                stack.enter_context(torch.autocast(images.device.type, amp_dtype))
            logits = model(images)
        loss = cross_entropy(logits.float() if amp_dtype else logits, labels)
        loss.backward()
        return loss

    model.train()
    return optimizer.step(closure).detach()


@contextlib.contextmanager
def _evaluating(model):
    before = model.training
    try:
        with torch.inference_mode():
            yield model.eval()
    finally:
        model.train(before)


def evaluate(model, images, labels, batch_size):
    with _evaluating(model) as predict:
        predictions = torch.cat([predict(batch).argmax(-1) for batch in images.split(batch_size)])
        return predictions.eq(labels).double().mean().item()
