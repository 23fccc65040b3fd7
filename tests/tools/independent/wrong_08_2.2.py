# The exponent is i/D instead of 2i/D, so the frequencies fall half as fast.
import torch


def sinusoidal_positions(n_positions, d_model):
    pe = torch.zeros(n_positions, d_model)
    pos = torch.arange(n_positions, dtype=torch.float32).unsqueeze(1)
    n_sin = (d_model + 1) // 2
    i = torch.arange(n_sin, dtype=torch.float32)
    angle = pos / 10000 ** (i / d_model)
    pe[:, 0::2] = torch.sin(angle)
    pe[:, 1::2] = torch.cos(angle[:, : d_model // 2])
    return pe
