"""Chapter 4 in other right ways: torch.var, the normal distribution, torch's GELU and norm where neither is built."""

import torch
from torch import nn

from .ch03_attention import MultiHeadAttention


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def forward(self, x):
        variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def gelu(x):
    return x * torch.special.ndtr(x.float() if x.dtype == torch.bfloat16 else x).to(x.dtype)


class MLP(nn.Module):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_model * ratio)
        self.act = nn.GELU()
        self.drop1, self.drop2 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.fc2 = nn.Linear(d_model * ratio, d_model)

    def forward(self, x):
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))


class EncoderBlock(nn.Module):
    def __init__(self, d_model, n_heads, mlp_ratio=4, dropout=0.0):
        super().__init__()
        self.mlp = MLP(d_model, ratio=mlp_ratio, dropout=dropout)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.p = dropout

    def forward(self, x):
        x = x + nn.functional.dropout(self.attention(self.norm1(x)), self.p, self.training)
        return x + self.mlp(self.norm2(x))
