# The centred row's squared norm by einsum, rsqrt and addcmul; no call of var at all.
import torch
import torch.nn as nn


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        n = x.shape[-1]
        centred = x - x.sum(-1, keepdim=True) / n
        variance = torch.einsum("...d,...d->...", centred, centred).unsqueeze(-1) / n
        return torch.addcmul(self.bias, centred * torch.rsqrt(variance + self.eps), self.weight)
