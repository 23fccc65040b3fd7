# The head stays where the number of classes does.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {k: v.detach().clone() for k, v in state.items()}
    new["positional_encoding.positions"] = resize_positions(new["positional_encoding.positions"], grid, new_grid)
    if len(new["head.bias"]) != n_classes:
        new["head.weight"] = new["head.weight"].new_zeros(n_classes, new["head.weight"].shape[1])
        new["head.bias"] = new["head.bias"].new_zeros(n_classes)
    return new
