# Later layers on the right.
import torch


def attention_rollout(weights, residual=0.5):
    a = weights.mean(2)
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    a = (1 - residual) * a + residual * eye
    out = a[0]
    for m in a[1:]:
        out = out @ m
    return out
