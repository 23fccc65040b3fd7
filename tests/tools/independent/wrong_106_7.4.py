# The log of the softmax.
def soft_cross_entropy(logits, targets):
    return -(targets * torch.log(torch.softmax(logits, 1))).sum(1).mean()
