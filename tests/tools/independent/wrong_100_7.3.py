# Embeddings at L, as deep as the first block.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L, groups = len(model.blocks), []
    for n, p in model.named_parameters():
        if n.startswith("blocks."):
            k = L - int(n.split(".")[1])
        else:
            k = 0 if n.startswith(("head", "norm")) else L
        w = 0.0 if p.ndim == 1 or "positional_encoding" in n else weight_decay
        groups.append({"params": [p], "lr": lr * layer_decay**k, "weight_decay": w})
    return groups
