# Label smoothing spreads eps over the K-1 wrong classes, not over all K.
import torch


def cross_entropy(logits, labels, label_smoothing=0.0):
    K = logits.shape[-1]
    m = logits.max(dim=-1, keepdim=True).values
    log_p = logits - m - (logits - m).exp().sum(-1, keepdim=True).log()
    target = torch.full_like(log_p, label_smoothing / (K - 1))
    target.scatter_(1, labels[:, None], 1.0 - label_smoothing)
    return -(target * log_p).sum(-1).mean()
