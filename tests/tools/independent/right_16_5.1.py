# The blocks in an nn.Sequential and the norm applied to the CLS token alone, which is the same since it works on each token.
import torch
import torch.nn as nn
from .ch01_patches import PatchEmbedding
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm


def _as_pair(size):
    return tuple(size) if hasattr(size, "__len__") else (size, size)


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, n_classes, d_model, n_layers, n_heads,
                 mlp_ratio=4, positions="sinusoidal", dropout=0.0):
        super().__init__()
        n_patches = 1
        height, width = _as_pair(image_size)
        for side in (height, width):
            cells, rest = divmod(side, patch_size)
            if rest:
                raise ValueError(f"an image of {height} x {width} has no whole patches of {patch_size}")
            n_patches *= cells
        self.patch_embedding = PatchEmbedding(d_model, patch_size, in_channels)
        self.positional_encoding = PositionalEncoding(d_model, n_patches, positions)
        blocks = (
            EncoderBlock(d_model, n_heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(n_layers)
        )
        self.blocks = nn.Sequential(*blocks)
        self.first_drop = nn.Dropout(dropout)
        self.norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_classes)

    def forward(self, images):
        tokens = self.blocks(self.first_drop(self.positional_encoding(self.patch_embedding(images))))
        cls, _ = tokens.tensor_split([1], dim=1)
        return self.head(self.norm(cls.squeeze(1)))
