# The identity matrix as a table of one-hot rows; log-sum-exp by hand; image by image.
def mixup(images, labels, n_classes, lam, order):
    eye = torch.eye(n_classes, dtype=images.dtype, device=images.device)
    x, t = [], []
    for i in range(images.shape[0]):
        j = order[i]
        x.append(images[i] * lam + images[j] * (1.0 - lam))
        t.append(eye[labels[i]] * lam + eye[labels[j]] * (1.0 - lam))
    return torch.stack(x), torch.stack(t)


def soft_cross_entropy(logits, targets):
    shifted = logits - logits.max(dim=1, keepdim=True).values
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
    losses = [-(t * l).sum() for t, l in zip(targets, log_p)]
    return torch.stack(losses).mean()
