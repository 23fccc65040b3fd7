# The heads' maximum, as some write-ups fuse them.
import torch


def attention_rollout(weights, residual=0.5):
    a = weights.amax(dim=2)
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    a = (1 - residual) * a + residual * eye
    a = a / a.sum(-1, keepdim=True)
    joint = a[0]
    for m in a[1:]:
        joint = m @ joint
    return joint
