# functools.reduce, the identity added with diagonal_scatter's cousin: in place on the diagonal of a fresh tensor.
from functools import reduce

import torch


def attention_rollout(weights, residual=0.5):
    mats = weights.mean(2) * (1 - residual)
    mats.diagonal(dim1=-2, dim2=-1).add_(residual)
    return reduce(lambda below, above: torch.bmm(above, below), mats)
