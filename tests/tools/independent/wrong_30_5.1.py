# A size that does not fit is rounded down when the model is made; the error comes only in the first forward pass.
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
        n_patches = (H // patch_size) * (W // patch_size)
        self.patch_embedding = PatchEmbedding(d_model, patch_size, in_channels)
        self.positional_encoding = PositionalEncoding(d_model, n_patches, positions)
        self.blocks = nn.ModuleList(
            [EncoderBlock(d_model, n_heads, mlp_ratio, dropout) for _ in range(n_layers)]
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = LayerNorm(d_model)
        self.head = nn.Linear(d_model, n_classes)

    def forward(self, images):
        x = self.patch_embedding(images)
        x = self.dropout(self.positional_encoding(x))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0])
