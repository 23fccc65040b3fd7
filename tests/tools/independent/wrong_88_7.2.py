# A shallow copy: everything but head and positions is the old memory.
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = dict(state)
    new["positional_encoding.positions"] = resize_positions(state["positional_encoding.positions"].detach(), grid, new_grid)
    new["head.weight"] = torch.zeros_like(state["head.weight"][:1]).detach().repeat(n_classes, 1)
    new["head.bias"] = torch.zeros(n_classes, dtype=state["head.bias"].dtype)
    return {k: v.detach() for k, v in new.items()}
