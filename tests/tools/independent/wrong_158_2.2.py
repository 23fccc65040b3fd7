# Torch.set_default_dtype(float64) is left set for the whole program.
def sinusoidal_positions(n_positions, d_model):
    torch.set_default_dtype(torch.float64)
    p = torch.arange(n_positions, dtype=torch.float64)[:, None]
    angles = p / 10000 ** (torch.arange(0, d_model, 2) / d_model)
    table = torch.zeros(n_positions, d_model)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)[:, : d_model // 2]
    return table.float()
