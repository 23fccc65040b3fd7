# deepcopy, then detach_; in float32 where it can be more exact for half precision.
import copy


def adapt_state_dict(state, grid, new_grid, n_classes):
    new = copy.deepcopy(dict(state))
    new = {k: v.detach() for k, v in new.items()}
    if tuple(grid) != tuple(new_grid):
        p = new["positional_encoding.positions"]
        if p.dtype in (torch.float16, torch.bfloat16):
            new["positional_encoding.positions"] = resize_positions(p.float(), grid, new_grid).to(p.dtype)
        else:
            new["positional_encoding.positions"] = resize_positions(p, grid, new_grid)
    width = new.pop("head.weight").size(1)
    bias = new.pop("head.bias")
    new["head.weight"] = torch.zeros(n_classes, width).to(bias)
    new["head.bias"] = torch.zeros(n_classes).to(bias)
    return new
