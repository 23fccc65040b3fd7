"""Chapter 3 in an expert's right ways: baddbmm, one fused projection, unflatten, an output projection by einsum."""

import torch
import torch.nn.functional as F
from einops import einsum, pack, rearrange, unpack
from torch import nn


def scaled_dot_product_attention(q, k, v):
    (q, lead), (k, _), (v, _) = (pack([x], "* t d") for x in (q, k, v))
    scores = torch.baddbmm(q.new_empty(1, 1, 1), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
    weights = scores.log_softmax(-1).exp()
    output = torch.bmm(weights, v)
    return unpack(output, lead, "* t d")[0], unpack(weights, lead, "* q k")[0]


class AttentionHead(nn.Module):
    def __init__(self, d_model, d_head):
        super().__init__()
        for name in ("query", "key", "value"):
            self.register_module(name, nn.Linear(d_model, d_head))

    def forward(self, x):
        layers = self.query, self.key, self.value
        weight, bias = (torch.cat([getattr(layer, kind) for layer in layers]) for kind in ("weight", "bias"))
        q, k, v = F.linear(x, weight, bias).tensor_split(3, dim=-1)
        weights = einsum(q, k, "b q d, b k d -> b q k").mul(q.shape[-1] ** -0.5).softmax(-1)
        return einsum(weights, v, "b q k, b k d -> b q d"), weights


def split_heads(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).movedim(-2, -3)


def merge_heads(x):
    return x.movedim(-3, -2).flatten(-2)


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads:
            raise ValueError
        self.split = {"n": 3, "h": n_heads}
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)

    def forward(self, x, return_weights=False):
        q, k, v = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", **self.split)
        if return_weights:
            weights = einsum(q * k.shape[-1] ** -0.5, k, "b h i d, b h j d -> b h i j").softmax(-1)
            mixed = einsum(weights, v, "b h i j, b h j d -> b h i d")
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        w_out = rearrange(self.out.weight, "e (h d) -> h d e", h=self.split["h"])
        output = einsum(mixed, w_out, "b h t d, h d e -> b t e") + self.out.bias
        return (output, weights) if return_weights else output
