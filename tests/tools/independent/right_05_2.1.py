# Fills an empty result by slice assignment; broadcasting takes the place of expand and cat.
import torch


def prepend_cls(tokens, cls_token):
    b, n, d = tokens.shape
    result = tokens.new_empty(b, n + 1, d)
    result[:, :1] = cls_token
    result[:, 1:] = tokens
    return result
