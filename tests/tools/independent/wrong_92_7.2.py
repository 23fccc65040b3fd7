# A new head as nn.Linear starts it, and only its bias zero.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {k: v.detach().clone() for k, v in state.items()}
    new["positional_encoding.positions"] = resize_positions(new["positional_encoding.positions"], grid, new_grid)
    head = nn.Linear(new["head.weight"].shape[1], n_classes).to(new["head.weight"].dtype)
    new["head.weight"] = head.weight.detach().clone()
    new["head.bias"] = torch.zeros_like(head.bias).detach()
    return new
