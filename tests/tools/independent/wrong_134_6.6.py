# Solves (XtX + ridge I) W = XtY: the 1/n of the loss is missing.
import torch
import torch.nn.functional as F


def linear_probe(features, labels, n_classes, ridge=1e-2):
    y = F.one_hot(labels, n_classes).to(features.dtype)
    mx, my = features.mean(0), y.mean(0)
    x = features - mx
    t = y - my
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(x.T @ x + ridge * eye, x.T @ t)
    return weight, my - mx @ weight
