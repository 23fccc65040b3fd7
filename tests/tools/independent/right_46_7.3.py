# A decaying and a non-decaying group per depth, some of which are empty; scale first, then the rate.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L = len(model.blocks)
    scales = [layer_decay ** (L + 1 - i) for i in range(L + 2)]
    groups = [dict(params=[], lr=lr * s, weight_decay=w, lr_scale=s) for s in scales for w in (weight_decay, 0)]
    no_weight_decay = {"positional_encoding.cls_token", "positional_encoding.positions"}
    for n, p in model.named_parameters():
        if n.startswith("blocks."):
            layer_id = int(n.split(".")[1]) + 1
        elif n.startswith(("patch_embedding.", "positional_encoding.")):
            layer_id = 0
        else:
            layer_id = L + 1
        index = 2 * layer_id + (1 if n in no_weight_decay or p.ndim == 1 else 0)
        groups[index]["params"].append(p)
    return groups
