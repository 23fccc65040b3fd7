# The new head is float32 whatever the state's dtype.
import torch

from .ch02_tokens import resize_positions


def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {name: tensor.detach().clone() for name, tensor in state.items()}
    key = "positional_encoding.positions"
    if tuple(grid) != tuple(new_grid):
        new[key] = resize_positions(new[key], grid, new_grid)
    weight = new["head.weight"]
    new["head.weight"] = torch.zeros(n_classes, weight.shape[1])
    new["head.bias"] = weight.new_zeros(n_classes)
    return new
