# float32 zeros in whatever state.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {k: v.detach().clone() for k, v in state.items()}
    new["positional_encoding.positions"] = resize_positions(new["positional_encoding.positions"], grid, new_grid)
    new["head.weight"] = torch.zeros(n_classes, state["head.weight"].shape[1])
    new["head.bias"] = torch.zeros(n_classes)
    return new
