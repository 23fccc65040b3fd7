# residual is ignored: always a half.
import torch


def attention_rollout(weights, residual=0.5):
    a = weights.mean(dim=2)
    a = a + torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    a = a / a.sum(-1, keepdim=True)
    joint = a[0]
    for i in range(1, len(a)):
        joint = a[i] @ joint
    return joint
