# ridge beside the sum, not beside the mean.
import torch
import torch.nn.functional as F


def linear_probe(features, labels, n_classes, ridge=1e-2):
    y = F.one_hot(labels, n_classes).to(features.dtype)
    x = features - features.mean(0)
    w = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T @ (y - y.mean(0)))
    return w, y.mean(0) - features.mean(0) @ w
