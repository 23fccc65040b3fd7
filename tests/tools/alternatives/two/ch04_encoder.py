"""Chapter 4 in a beginner's right ways: var(unbiased=False), torch.special.erf, a loop over layers, a helper class."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .ch03_attention import MultiHeadAttention


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.bias = nn.Parameter(torch.full((d_model,), 0.0))
        self.weight = nn.Parameter(torch.full((d_model,), 1.0))
        self.epsilon = eps

    def forward(self, x):
        average = x.sum(dim=-1) / x.shape[-1]
        variance = x.var(dim=-1, unbiased=False)
        spread = (variance + self.epsilon) ** 0.5
        normal = (x - average.unsqueeze(-1)) / spread.unsqueeze(-1)
        return normal * self.weight.expand_as(x) + self.bias.expand_as(x)


def gelu(x):
    half = x / 2
    return half + half * torch.special.erf(x / math.sqrt(2.0))


class MLP(nn.Module):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        nn.Module.__init__(self)
        hidden = int(ratio * d_model)
        self.drop_probability = dropout
        self.fc2 = nn.Linear(hidden, d_model)
        self.fc1 = nn.Linear(d_model, hidden)

    def _drop(self, x):
        if self.training and self.drop_probability > 0:
            return F.dropout(x, p=self.drop_probability)
        return x

    def forward(self, x):
        steps = [self.fc1, gelu, self._drop, self.fc2, self._drop]
        for step in steps:
            x = step(x)
        return x


class _PreNormBlock(nn.Module):
    def _branch(self, x, norm, layer):
        y = norm(x)
        y = layer(y)
        return y


class EncoderBlock(_PreNormBlock):
    def __init__(self, d_model, n_heads, mlp_ratio=4, dropout=0.0):
        super().__init__()
        self.add_module("norm2", LayerNorm(d_model))
        self.add_module("norm1", LayerNorm(d_model))
        self.add_module("mlp", MLP(d_model, mlp_ratio, dropout))
        self.add_module("attention", MultiHeadAttention(d_model, n_heads))
        self.add_module("attention_dropout", nn.Dropout(p=dropout))

    def forward(self, x):
        residual = x
        x = self.attention_dropout(self._branch(x, self.norm1, self.attention))
        x = residual + x
        residual = x
        x = self._branch(x, self.norm2, self.mlp)
        x = residual + x
        return x
