# A view of out.weight with an axis for the heads, filled through .data.
import copy



def ablate_head(model, layer, head):
    other = copy.deepcopy(model)
    mha = other.blocks[layer].attention
    columns = mha.out.weight.data.unflatten(1, (mha.n_heads, -1))
    columns[:, head].zero_()
    return other
