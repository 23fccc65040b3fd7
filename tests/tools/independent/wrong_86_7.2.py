# Positions are resized when their number differs: (2, 6) to (3, 4) has as many.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {k: v.detach().clone() for k, v in state.items()}
    if grid[0] * grid[1] != new_grid[0] * new_grid[1]:
        new["positional_encoding.positions"] = resize_positions(new["positional_encoding.positions"], grid, new_grid)
    D = new["head.weight"].shape[1]
    new["head.weight"] = torch.zeros(n_classes, D).to(new["head.weight"])
    new["head.bias"] = torch.zeros(n_classes).to(new["head.bias"])
    return new
