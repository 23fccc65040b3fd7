"""Chapter 4 in an expert's right ways: einops.reduce, addcmul, erfc, a Sequential with names, folded branches."""

import functools
import math
from collections import OrderedDict

import torch
from einops import reduce
from torch import nn

from .ch03_attention import MultiHeadAttention

_mean = functools.partial(reduce, pattern="... d -> ... 1", reduction="mean")


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.eps = eps
        for name, fill in (("weight", nn.init.ones_), ("bias", nn.init.zeros_)):
            self.register_parameter(name, nn.Parameter(fill(torch.empty(d_model))))

    def forward(self, x):
        centred = x - _mean(x)
        return torch.addcmul(self.bias, self.weight, centred * (_mean(centred.square()) + self.eps).rsqrt())


def gelu(x):
    return 0.5 * x * torch.special.erfc(-math.sqrt(0.5) * x)


class _GELU(nn.Module):
    def forward(self, x):
        return gelu(x)


class MLP(nn.Sequential):
    def __init__(self, d_model, ratio=4, dropout=0.0):
        layers = OrderedDict(fc1=nn.Linear(d_model, ratio * d_model), act=_GELU(), drop1=nn.Dropout(dropout))
        layers |= OrderedDict(fc2=nn.Linear(ratio * d_model, d_model), drop2=nn.Dropout(dropout))
        super().__init__(layers)


class EncoderBlock(nn.Module):
    def __init__(self, d_model, n_heads, mlp_ratio=4, dropout=0.0):
        super().__init__()
        norm = functools.partial(LayerNorm, d_model)
        self.norm1, self.attention, self.drop = norm(), MultiHeadAttention(d_model, n_heads), nn.Dropout(dropout)
        self.norm2, self.mlp = norm(), MLP(d_model, mlp_ratio, dropout)

    def forward(self, x):
        branches = (self.norm1, self.attention, self.drop), (self.norm2, self.mlp)
        for branch in branches:
            x = x + functools.reduce(lambda y, layer: layer(y), branch, x)
        return x
