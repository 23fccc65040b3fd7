# Gradient descent that stops before the minimum.
import torch
import torch.nn.functional as F


def linear_probe(features, labels, n_classes, ridge=1e-2):
    n, d = features.shape
    y = F.one_hot(labels, n_classes).to(features.dtype)
    w = torch.zeros(d, n_classes, dtype=features.dtype)
    b = torch.zeros(n_classes, dtype=features.dtype)
    for _ in range(200):
        off = features @ w + b - y
        w = w - 0.05 * (2 * features.T @ off / n + 2 * ridge * w)
        b = b - 0.05 * 2 * off.mean(0)
    return w, b
