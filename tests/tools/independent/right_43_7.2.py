# Deep copy under no_grad; the head first; always resized.
import copy


def adapt_state_dict(state, grid, new_grid, n_classes):
    with torch.no_grad():
        new = {}
        for key in state:
            new[key] = torch.empty_like(state[key])
            new[key].copy_(state[key])
        for key in ("head.weight", "head.bias"):
            shape = (n_classes,) + tuple(state[key].shape[1:])
            new[key] = torch.zeros(shape, dtype=state[key].dtype, device=state[key].device)
        key = "positional_encoding.positions"
        new[key] = resize_positions(state[key], grid, new_grid).clone()
    return new
