# Per image, torch.linalg.multi_dot or the matrix itself for one layer.
import torch


def attention_rollout(weights, residual=0.5):
    layers = weights.mean(2).mul(1 - residual)
    layers = layers + torch.diag_embed(layers.new_full(layers.shape[:-1], residual))
    images = []
    for i in range(layers.shape[1]):
        chain = [layers[l, i] for l in range(layers.shape[0] - 1, -1, -1)]
        images.append(torch.linalg.multi_dot(chain) if len(chain) > 1 else chain[0].clone())
    return torch.stack(images)
