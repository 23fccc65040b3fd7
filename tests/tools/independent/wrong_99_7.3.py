# params is a generator, which an optimizer reads once.
def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L = len(model.blocks)
    parts = [[model.head, model.norm], *[[b] for b in reversed(model.blocks)], [model.patch_embedding, model.positional_encoding]]
    groups = []
    for k, modules in enumerate(parts):
        for decays in (True, False):
            chosen = (
                p for m in modules for n, p in m.named_parameters()
                if decays == (p.ndim > 1 and n not in ("cls_token", "positions"))
            )
            groups.append({"params": chosen, "lr": lr * layer_decay**k, "weight_decay": weight_decay if decays else 0.0})
    return groups
