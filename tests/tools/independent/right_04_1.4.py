# Finds the matrix by sending every unit patch through the convolution (no reshape of the kernel at all).
import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_to_linear(conv):
    c, (p, q) = conv.in_channels, conv.kernel_size
    size = c * p * q
    weight = conv.weight.detach()
    unit = torch.eye(size, dtype=weight.dtype, device=weight.device).reshape(size, c, p, q)
    columns = F.conv2d(unit, weight).flatten(1)              # (C*P*P, D)
    linear = nn.Linear(size, conv.out_channels, device=weight.device, dtype=weight.dtype)
    linear.load_state_dict({"weight": columns.T.contiguous(), "bias": conv.bias.detach().clone()})
    return linear
