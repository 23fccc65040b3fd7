# A + r·I, made to sum to 1 afterwards: not the same mixture.
import torch


def attention_rollout(weights, residual=0.5):
    a = weights.mean(dim=2) + residual * torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    a = a / a.sum(-1, keepdim=True)
    joint = a[0]
    for i in range(1, len(a)):
        joint = a[i] @ joint
    return joint
