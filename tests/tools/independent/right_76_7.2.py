# A match over the names, one tensor at a time.
import torch

from .ch02_tokens import resize_positions


def adapt_state_dict(state, grid, new_grid, n_classes):
    result = {}
    with torch.no_grad():
        for name in state:
            tensor = state[name].detach()
            match name:
                case "head.weight":
                    result[name] = tensor.new_zeros((n_classes, tensor.shape[-1]))
                case "head.bias":
                    result[name] = tensor.new_zeros((n_classes,))
                case "positional_encoding.positions" if tuple(grid) != tuple(new_grid):
                    result[name] = resize_positions(tensor, grid, new_grid).clone()
                case _:
                    result[name] = torch.empty_like(tensor).copy_(tensor)
    return result
