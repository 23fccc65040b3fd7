# "norm" in the name: the norms of the blocks count as the last one.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L, groups = len(model.blocks), []
    for n, p in model.named_parameters():
        if "norm" in n or "head" in n:
            k = 0
        elif "blocks" in n:
            k = L - int(n.split(".")[1])
        else:
            k = L + 1
        w = 0.0 if p.ndim == 1 or "cls_token" in n or "positions" in n else weight_decay
        groups.append({"params": [p], "lr": lr * layer_decay**k, "weight_decay": w})
    return groups
