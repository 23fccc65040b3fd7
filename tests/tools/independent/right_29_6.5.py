# A pre-hook on the copy's output layer zeroes the head's columns of its input.
import copy


def ablate_head(model, layer, head):
    new = copy.deepcopy(model)
    att = new.blocks[layer].attention
    width = att.out.in_features // att.n_heads

    def silence(module, args):
        x = args[0].clone()
        x[..., head * width:(head + 1) * width] = 0
        return (x,)

    att.out.register_forward_pre_hook(silence)
    return new
