# The head is only replaced when the number of classes changes.
from .ch02_tokens import resize_positions


def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {name: tensor.detach().clone() for name, tensor in state.items()}
    if grid != new_grid:
        new["positional_encoding.positions"] = resize_positions(
            new["positional_encoding.positions"], grid, new_grid
        )
    old = new["head.weight"]
    if old.shape[0] != n_classes:
        new["head.weight"] = old.new_zeros(n_classes, old.shape[1])
        new["head.bias"] = old.new_zeros(n_classes)
    return new
