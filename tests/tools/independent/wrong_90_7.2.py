# detach without clone when the grid stays.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {k: v.detach().clone() for k, v in state.items() if "positions" not in k}
    p = state["positional_encoding.positions"].detach()
    new["positional_encoding.positions"] = p if tuple(grid) == tuple(new_grid) else resize_positions(p, grid, new_grid)
    new["head.weight"] = new["head.weight"].new_zeros(n_classes, new["head.weight"].shape[1])
    new["head.bias"] = new["head.bias"].new_zeros(n_classes)
    return new
