# The 3D outputs of qkv are read as (heads, 3, dh), each head's q, k, v side by side, not as all queries, all keys, all values.
import torch
import torch.nn as nn


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads != 0:
            raise ValueError(f"d_model={d_model} is not divisible by n_heads={n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x, return_weights=False):
        B, T, D = x.shape
        qkv = self.qkv(x).reshape(B, T, self.n_heads, 3, D // self.n_heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)             # 3 x (B, h, T, dh)
        y, weights = scaled_dot_product_attention(q, k, v)
        y = self.out(merge_heads(y))
        return (y, weights) if return_weights else y
