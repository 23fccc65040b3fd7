# The width of a head from the number of layers.
import copy, torch
def ablate_head(model, layer, head):
    m = copy.deepcopy(model)
    a = m.blocks[layer].attention
    dh = a.out.weight.shape[1] // len(m.blocks)
    a.out.weight.data[:, head*dh:(head+1)*dh] = 0
    return m
