# The old state dict is changed in place.
def adapt_state_dict(state, grid, new_grid, n_classes):
    state["positional_encoding.positions"] = resize_positions(state["positional_encoding.positions"], grid, new_grid)
    state["head.weight"] = torch.zeros(n_classes, state["head.weight"].shape[1]).to(state["head.weight"].dtype)
    state["head.bias"] = torch.zeros(n_classes).to(state["head.bias"].dtype)
    return {k: v.detach().clone() for k, v in state.items()}
