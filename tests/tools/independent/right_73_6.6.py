# The dual: an n x n system of the centred features.
import torch


def linear_probe(features, labels, n_classes, ridge=1e-2):
    n = features.size(0)
    x = features.double()
    y = torch.zeros(n, n_classes, dtype=torch.float64, device=x.device).scatter_(1, labels[:, None], 1.0)
    x0, y0 = x.mean(0, keepdim=True), y.mean(0, keepdim=True)
    xc = x - x0
    gram = xc @ xc.T
    gram.diagonal().add_(n * ridge)
    w = xc.T @ torch.cholesky_solve(y - y0, torch.linalg.cholesky(gram))
    b = (y0 - x0 @ w).squeeze(0)
    return w.to(features.dtype), b.to(features.dtype)
