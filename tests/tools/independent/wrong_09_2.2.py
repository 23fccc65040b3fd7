# For an odd D the table is made for D+1 and cut, so the exponent divides by D+1 (even D is right).
import math
import torch


def sinusoidal_positions(n_positions, d_model):
    even = d_model + d_model % 2
    position = torch.arange(n_positions).unsqueeze(1).float()
    div = torch.exp(torch.arange(0, even, 2).float() * (-math.log(10000.0) / even))
    pe = torch.zeros(n_positions, even)
    pe[:, 0::2] = torch.sin(position * div)
    pe[:, 1::2] = torch.cos(position * div)
    return pe[:, :d_model]
