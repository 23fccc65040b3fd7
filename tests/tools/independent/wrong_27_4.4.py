# norm1 is used before the MLP too; norm2 exists but is never called (copy and paste).
import torch
import torch.nn as nn
from .ch03_attention import MultiHeadAttention


class EncoderBlock(nn.Module):
    def __init__(self, d_model, n_heads, mlp_ratio=4, dropout=0.0):
        super().__init__()
        self.norm1 = LayerNorm(d_model)
        self.norm2 = LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.mlp = MLP(d_model, ratio=mlp_ratio, dropout=dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        h = x + self.drop(self.attention(self.norm1(x)))
        return h + self.mlp(self.norm1(h))
