# The final norm is made but never applied before the head.
import torch
import torch.nn as nn
from .ch01_patches import PatchEmbedding
from .ch02_tokens import PositionalEncoding
from .ch04_encoder import EncoderBlock, LayerNorm


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, n_classes, d_model, n_layers, n_heads,
                 mlp_ratio=4, positions="sinusoidal", dropout=0.0):
        super().__init__()
        H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
        if H % patch_size or W % patch_size:
            raise ValueError(f"image {H}x{W} is not divisible by patch size {patch_size}")
        n_patches = (H // patch_size) * (W // patch_size)
        self.patch_embedding = PatchEmbedding(d_model, patch_size, in_channels)
        self.positional_encoding = PositionalEncoding(d_model, n_patches, positions)
        self.blocks = nn.ModuleList(
            [EncoderBlock(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers)]
        )
        self.norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_classes)

    def forward(self, images):
        x = self.patch_embedding(images)
        x = self.positional_encoding(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])
