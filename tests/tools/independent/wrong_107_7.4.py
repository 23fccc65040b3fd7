# A small number saves the log from 0, and cuts the loss off.
def soft_cross_entropy(logits, targets):
    return -(targets * torch.log(torch.softmax(logits, 1) + 1e-12)).sum(1).mean()
