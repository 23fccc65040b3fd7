# λ is made at least one half, as some recipes do.
def mixup(images, labels, n_classes, lam, order):
    lam = max(lam, 1 - lam)
    t = F.one_hot(labels, n_classes).to(images.dtype)
    return lam * images + (1 - lam) * images[order], lam * t + (1 - lam) * t[order]
