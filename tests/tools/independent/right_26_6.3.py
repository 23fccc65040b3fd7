# From an identity on, image by image, layers backwards from the right.
import torch


def attention_rollout(weights, residual=0.5):
    L, B, h, T, _ = weights.shape
    I = torch.eye(T, dtype=weights.dtype, device=weights.device)
    out = []
    for b in range(B):
        r = I
        for l in reversed(range(L)):
            a = sum(weights[l, b, i] for i in range(h)) / h
            r = r @ ((1 - residual) * a + residual * I)
        out.append(r)
    return torch.stack(out)
