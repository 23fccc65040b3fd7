# Positions are only resized when the number of patches differs, not when (2, 6) becomes (3, 4).
import torch

from .ch02_tokens import resize_positions


def adapt_state_dict(state, grid, new_grid, n_classes):
    out = {}
    for name, tensor in state.items():
        out[name] = tensor.detach().clone()
    if grid[0] * grid[1] != new_grid[0] * new_grid[1]:
        out["positional_encoding.positions"] = resize_positions(
            out["positional_encoding.positions"], grid, new_grid
        )
    d = out["head.weight"].shape[1]
    out["head.weight"] = torch.zeros(n_classes, d).to(out["head.weight"])
    out["head.bias"] = torch.zeros(n_classes).to(out["head.bias"])
    return out
