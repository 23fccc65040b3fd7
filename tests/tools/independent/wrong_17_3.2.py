# The queries are scaled by 1/sqrt(dh) here although scaled_dot_product_attention scales them again.
import math
import torch
import torch.nn as nn


class AttentionHead(nn.Module):
    def __init__(self, d_model, d_head):
        super().__init__()
        self.d_head = d_head
        self.query = nn.Linear(d_model, d_head)
        self.key = nn.Linear(d_model, d_head)
        self.value = nn.Linear(d_model, d_head)

    def forward(self, x):
        q = self.query(x) / math.sqrt(self.d_head)
        k = self.key(x)
        v = self.value(x)
        return scaled_dot_product_attention(q, k, v)
