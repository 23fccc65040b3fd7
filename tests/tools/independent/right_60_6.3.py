# Starts from the last layer and multiplies earlier ones on the right; lerp for the mixture.
import torch


def attention_rollout(weights, residual=0.5):
    L, B, h, T, _ = weights.shape
    eye = torch.eye(T).to(weights)
    result = eye.expand(B, T, T)
    for l in reversed(range(L)):
        mixed = torch.lerp(weights[l].sum(1) / h, eye.expand(B, T, T), residual)
        result = torch.einsum("bij,bjk->bik", result, mixed)
    return result
