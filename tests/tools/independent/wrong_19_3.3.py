# D is split as (dh h), so a head takes every h-th feature; merge_heads undoes exactly that, so the round trip is right.
from einops import rearrange


def split_heads(x, n_heads):
    return rearrange(x, "b t (dh h) -> b h t dh", h=n_heads)


def merge_heads(x):
    return rearrange(x, "b h t dh -> b t (dh h)")
