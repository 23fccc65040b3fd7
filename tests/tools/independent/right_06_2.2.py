# Complex exponentials in float64: sine and cosine are the imaginary and real part, interleaved and cut to D.
import torch


def sinusoidal_positions(n_positions, d_model):
    pairs = (d_model + 1) // 2
    exponent = 2 * torch.arange(pairs, dtype=torch.float64) / d_model
    angle = torch.outer(torch.arange(n_positions, dtype=torch.float64), 10000.0 ** -exponent)
    z = torch.polar(torch.ones_like(angle), angle)
    both = torch.stack((z.imag, z.real), dim=-1).flatten(1)
    return both[:, :d_model].to(torch.float32)
