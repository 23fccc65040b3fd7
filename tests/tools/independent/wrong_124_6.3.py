# The first layer goes in without the identity mixed in.
import torch


def attention_rollout(weights, residual=0.5):
    mean = weights.mean(dim=2)
    eye = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    rollout = mean[0]
    for layer in mean[1:]:
        rollout = ((1 - residual) * layer + residual * eye) @ rollout
    return rollout
