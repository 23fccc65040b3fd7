# Attention's forward is wrapped for the run, and taken off again.
import torch


def attention_maps(model, images):
    modes = [(m, m.training) for m in model.modules()]
    caught = []

    def spying(attention):
        def run(x, return_weights=False):
            out, weights = type(attention).forward(attention, x, return_weights=True)
            caught.append(weights)
            return (out, weights) if return_weights else out
        return run

    for block in model.blocks:
        block.attention.forward = spying(block.attention)
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        for block in model.blocks:
            del block.attention.forward
        for module, training in modes:
            module.train(training) if module is model else setattr(module, "training", training)
    return torch.stack(caught)
