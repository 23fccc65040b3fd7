# The scores are divided by sqrt(D) instead of sqrt(dh).
import torch
import torch.nn as nn


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"{d_model} % {n_heads} != 0")
        self.d_model = d_model
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, d_model * 3)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x, return_weights=False):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = split_heads(q, self.n_heads)
        k = split_heads(k, self.n_heads)
        v = split_heads(v, self.n_heads)
        att = torch.softmax(q @ k.mT * self.d_model ** -0.5, dim=-1)
        y = self.out(merge_heads(att @ v))
        if return_weights:
            return y, att
        return y
