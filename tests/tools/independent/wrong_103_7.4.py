# Targets are always float32.
def mixup(images, labels, n_classes, lam, order):
    t = F.one_hot(labels, n_classes).float()
    return lam * images + (1 - lam) * images[order], lam * t + (1 - lam) * t[order]
