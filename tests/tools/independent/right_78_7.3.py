# One group per parameter, found by walking over the modules from the head down.



def param_groups(model, lr, weight_decay, layer_decay=1.0):
    levels = [[model.head, model.norm]]
    levels += [[block] for block in reversed(model.blocks)]
    levels += [[model.patch_embedding, model.positional_encoding]]
    special = {id(p) for name, p in model.positional_encoding.named_parameters() if name in ("cls_token", "positions")}
    out = []
    rate = lr
    for modules in levels:
        for module in modules:
            for p in module.parameters():
                plain = len(p.shape) == 1 or id(p) in special
                out.append(dict(params=[p], lr=rate, weight_decay=0.0 if plain else weight_decay))
        rate = rate * layer_decay
    return out
