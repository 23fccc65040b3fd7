# The targets get 1 - lam of the own label and lam of the other's.
import torch.nn.functional as F


def mixup(images, labels, n_classes, lam, order):
    y = F.one_hot(labels, n_classes).to(images.dtype)
    mixed = lam * images + (1 - lam) * images[order]
    targets = (1 - lam) * y + lam * y[order]
    return mixed, targets



def soft_cross_entropy(logits, targets):
    return -(targets * logits.log_softmax(dim=-1)).sum(-1).mean()
