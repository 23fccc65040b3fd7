# OrderedDict from a comprehension, always resized, head popped and set anew.
import torch

from .ch02_tokens import resize_positions


def adapt_state_dict(state, grid, new_grid, n_classes):
    from collections import OrderedDict

    fresh = OrderedDict((name, torch.tensor(tensor.tolist(), dtype=tensor.dtype, device=tensor.device).reshape(tensor.shape)) for name, tensor in state.items())
    old = fresh.pop("positional_encoding.positions")
    same = grid[0] == new_grid[0] and grid[1] == new_grid[1]
    fresh["positional_encoding.positions"] = old if same else resize_positions(old, grid, new_grid).clone()
    fresh["head.weight"] = torch.zeros_like(fresh["head.weight"][:1]).repeat(n_classes, 1)
    fresh["head.bias"] = fresh["head.weight"][:, 0].clone()
    return fresh
