# One group for each parameter, walking the modules from the head down.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    levels = [[model.head, model.norm]] + [[block] for block in reversed(model.blocks)]
    levels.append([model.patch_embedding, model.positional_encoding])
    groups = []
    for k, modules in enumerate(levels):
        for module in modules:
            for name, p in module.named_parameters():
                no_decay = p.dim() <= 1 or name in ("cls_token", "positions")
                groups.append({"params": [p], "lr": lr * layer_decay ** k, "weight_decay": 0.0 if no_decay else weight_decay,
                               "name": f"{k} {name}"})
    return groups
