# einsum, the scale split evenly over q and k (dh^-1/4 each), and a softmax written out with the row's maximum subtracted.
import torch


def scaled_dot_product_attention(q, k, v):
    quarter = q.shape[-1] ** -0.25
    s = torch.einsum("...id,...jd->...ij", q * quarter, k * quarter)
    e = (s - s.amax(dim=-1, keepdim=True)).exp()
    weights = e / e.sum(dim=-1, keepdim=True)
    return torch.einsum("...ij,...jd->...id", weights, v), weights
