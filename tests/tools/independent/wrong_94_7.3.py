# The block's number is one digit of the name.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L, groups = len(model.blocks), []
    for n, p in model.named_parameters():
        if n.startswith("blocks."):
            k = L - int(n[7])
        else:
            k = 0 if n.startswith(("head", "norm")) else L + 1
        w = 0.0 if p.ndim == 1 or "cls_token" in n or "positions" in n else weight_decay
        groups.append({"params": [p], "lr": lr * layer_decay**k, "weight_decay": w})
    return groups
