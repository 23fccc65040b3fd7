"""Chapter 3 in a beginner's right ways: query by query, index assignment, F.linear with slices of the weight."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def scaled_dot_product_attention(q, k, v):
    root = math.sqrt(k.shape[-1])
    outputs = []
    all_weights = []
    for i in range(q.shape[-2]):
        one_query = q[..., i : i + 1, :]
        scores = (one_query * k).sum(dim=-1) / root
        weights = F.softmax(scores, dim=-1)
        outputs.append((weights.unsqueeze(-1) * v).sum(dim=-2))
        all_weights.append(weights)
    return torch.stack(outputs, dim=-2), torch.stack(all_weights, dim=-2)


class AttentionHead(nn.Module):
    def __init__(self, d_model, d_head):
        nn.Module.__init__(self)
        self.value = nn.Linear(d_model, d_head, bias=True)
        self.key = nn.Linear(d_model, d_head, bias=True)
        self.query = nn.Linear(d_model, d_head, bias=True)

    def _project(self, x, name):
        layer = getattr(self, name)
        return F.linear(x, layer.weight, layer.bias)

    def forward(self, x):
        projected = {}
        for name in ["query", "key", "value"]:
            projected[name] = self._project(x, name)
        return scaled_dot_product_attention(projected["query"], projected["key"], projected["value"])


def split_heads(x, n_heads):
    batch_size, n_tokens, d_model = x.shape
    d_head = d_model // n_heads
    heads = torch.zeros(batch_size, n_heads, n_tokens, d_head, dtype=x.dtype, device=x.device)
    for head in range(n_heads):
        heads[:, head] = x[:, :, head * d_head : (head + 1) * d_head]
    return heads


def merge_heads(x):
    batch_size, n_heads, n_tokens, d_head = x.shape
    merged = torch.zeros(batch_size, n_tokens, n_heads * d_head, dtype=x.dtype, device=x.device)
    for head in range(n_heads):
        merged[:, :, head * d_head : (head + 1) * d_head] = x[:, head]
    return merged


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        d_head, remainder = divmod(d_model, n_heads)
        if remainder != 0:
            raise ValueError("a width of " + str(d_model) + " can't be shared by " + str(n_heads) + " heads")
        super().__init__()
        self.out = nn.Linear(d_model, d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.d_model = d_model
        self.n_heads = n_heads
        self.d_head = d_head

    def _third(self, x, number):
        first = number * self.d_model
        last = first + self.d_model
        y = F.linear(x, self.qkv.weight[first:last], self.qkv.bias[first:last])
        y = y.reshape(x.shape[0], x.shape[1], self.n_heads, self.d_head)
        return y.permute(0, 2, 1, 3)

    def forward(self, x, return_weights=False):
        q = self._third(x, 0)
        k = self._third(x, 1)
        v = self._third(x, 2)
        scores = torch.matmul(q, k.permute(0, 1, 3, 2)) / math.sqrt(self.d_head)
        weights = torch.softmax(scores, dim=3)
        mixed = torch.matmul(weights, v)
        mixed = mixed.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[1], self.d_model)
        output = F.linear(mixed, self.out.weight, self.out.bias)
        if return_weights:
            return output, weights
        return output
