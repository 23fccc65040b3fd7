# The head's values become zero: rows of the third part of qkv, weight and bias.
import copy


def ablate_head(model, layer, head):
    twin = copy.deepcopy(model)
    attention = twin.blocks[layer].attention
    d = attention.out.weight.shape[0]
    dh = d // attention.n_heads
    rows = slice(2 * d + head * dh, 2 * d + (head + 1) * dh)
    attention.qkv.weight.data[rows] = 0
    attention.qkv.bias.data[rows] = 0
    return twin
