# The CLS token is detached, so no gradient ever reaches the parameter.
import torch


def prepend_cls(tokens, cls_token):
    B = tokens.shape[0]
    cls = cls_token.detach().expand(B, -1, -1)
    return torch.cat([cls, tokens], dim=1)
