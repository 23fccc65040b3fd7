# Functools.reduce over unbind, with the diagonal added in place.



def attention_rollout(weights, residual=0.5):
    from functools import reduce

    mixed = (1 - residual) * weights.sum(2) / weights.shape[2]
    mixed.diagonal(dim1=-2, dim2=-1).add_(residual)
    return reduce(lambda below, layer: layer.matmul(below), mixed.unbind(0))
