# The names end in "weight": norm.weight decays.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L, groups = len(model.blocks), []
    for n, p in model.named_parameters():
        if n.startswith("blocks."):
            k = L - int(n.split(".")[1])
        else:
            k = 0 if n.startswith(("head", "norm")) else L + 1
        groups.append({"params": [p], "lr": lr * layer_decay**k, "weight_decay": weight_decay if n.endswith("weight") else 0.0})
    return groups
