# Images are put where order says (index by argsort), targets as told.
import torch.nn.functional as F


def mixup(images, labels, n_classes, lam, order):
    y = F.one_hot(labels, n_classes).to(images.dtype)
    return lam * images + (1 - lam) * images[order.argsort()], lam * y + (1 - lam) * y[order]


def soft_cross_entropy(logits, targets):
    log_p = F.log_softmax(logits, dim=1)
    return -(targets * log_p).sum(dim=1).mean()
