# Sets of ids for what doesn't decay, dict.fromkeys for depths, two groups a level, empty ones left out.



def param_groups(model, lr, weight_decay, layer_decay=1.0):
    L = len(model.blocks)
    depth = {}
    for p in [*model.head.parameters(), *model.norm.parameters()]:
        depth[p] = 0
    for i, block in enumerate(model.blocks):
        depth.update(dict.fromkeys(block.parameters(), L - i))
    groups = []
    everything = list(model.parameters())
    plain = [model.positional_encoding.cls_token, model.positional_encoding.positions]
    for k in range(L + 2):
        level = [p for p in everything if depth.get(p, L + 1) == k]
        bare = [p for p in level if p.dim() == 1 or any(p is q for q in plain)]
        decayed = [p for p in level if not any(p is q for q in bare)]
        for params, wd in ((bare, 0.0), (decayed, weight_decay)):
            if params:
                groups.append({"params": params, "lr": lr * pow(layer_decay, k), "weight_decay": wd})
    return groups
