# The last block gets k = 0 and so on: blocks are one step too high.



def param_groups(model, lr, weight_decay, layer_decay=1.0):
    n_layers = len(model.blocks)
    groups = {}
    for name, param in model.named_parameters():
        if name.startswith(("head.", "norm.")):
            depth = 0
        elif name.startswith("blocks."):
            depth = n_layers - 1 - int(name.split(".")[1])
        else:
            depth = n_layers + 1
        no_decay = param.ndim <= 1 or name.endswith(("cls_token", "positions"))
        key = (depth, no_decay)
        if key not in groups:
            groups[key] = {
                "params": [],
                "lr": lr * layer_decay**depth,
                "weight_decay": 0.0 if no_decay else weight_decay,
            }
        groups[key]["params"].append(param)
    return list(groups.values())
