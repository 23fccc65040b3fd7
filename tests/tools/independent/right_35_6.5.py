# The columns pruned by torch.nn.utils.prune.
import copy, torch
from torch.nn.utils import prune
def ablate_head(model, layer, head):
    m = copy.deepcopy(model)
    a = m.blocks[layer].attention
    mask = torch.ones_like(a.out.weight)
    d = mask.shape[1] // a.n_heads
    mask[:, head*d:(head+1)*d] = 0
    prune.custom_from_mask(a.out, "weight", mask)
    return m
