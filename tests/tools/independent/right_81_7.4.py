# Rows of the identity for one-hot; mean over images of a dot product.
import torch


def mixup(images, labels, n_classes, lam, order):
    eye = torch.eye(n_classes, dtype=images.dtype, device=images.device)
    other = 1 - lam
    mixed = images.mul(lam).add(images[order], alpha=other)
    return mixed, eye[labels].mul(lam).add(eye[labels[order]], alpha=other)


def soft_cross_entropy(logits, targets):
    losses = []
    for row, target in zip(logits, targets):
        shifted = row - row.max()
        log_p = shifted - shifted.exp().sum().log()
        losses.append(-(target * log_p).sum())
    return torch.stack(losses).mean()
