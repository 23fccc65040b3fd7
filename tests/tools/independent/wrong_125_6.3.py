# Residual weighs the attention and 1 - residual the identity.
import torch


def attention_rollout(weights, residual=0.5):
    a = weights.mean(2)
    identity = torch.eye(a.size(-1), device=a.device, dtype=a.dtype)
    a = residual * a + (1.0 - residual) * identity
    out = a[0]
    for i in range(1, len(a)):
        out = torch.bmm(a[i], out)
    return out
