# Changes a copy of the state dict and loads it into a deep copy.
import copy

import torch


def ablate_head(model, layer, head):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    key = f"blocks.{layer}.attention.out.weight"
    d = state[key].shape[1]
    dh = d // model.blocks[layer].attention.n_heads
    keep = torch.ones(d, dtype=state[key].dtype, device=state[key].device)
    keep[head * dh:head * dh + dh] = 0
    state[key] = state[key] * keep
    result = copy.deepcopy(model)
    result.load_state_dict(state)
    return result
