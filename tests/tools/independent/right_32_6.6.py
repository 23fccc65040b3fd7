# Normal equations with the bias as one more unknown that has no penalty, by Cholesky.
import torch
import torch.nn.functional as F


def linear_probe(features, labels, n_classes, ridge=1e-2):
    n, d = features.shape
    x = F.pad(features, (0, 1), value=1.0)
    y = F.one_hot(labels, num_classes=n_classes).type_as(features)
    penalty = torch.full((d + 1,), ridge, dtype=features.dtype, device=features.device)
    penalty[-1] = 0
    factor = torch.linalg.cholesky(x.mT @ x + n * torch.diag(penalty))
    both = torch.cholesky_solve(x.mT @ y, factor)
    return both[:d], both[d]
