# Positions as complex numbers, layers in a Python loop.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    spots = torch.tensor([complex(r, c) for r in range(gh) for c in range(gw)], dtype=torch.complex128)
    table = ((spots.unsqueeze(1) - spots).abs() * patch_size).to(weights)
    result = []
    for layer in weights:
        heads = []
        for k in range(layer.shape[1]):
            w = layer[:, k, 1:, 1:]
            per_query = (w * table).sum(2) / w.sum(2)
            heads.append(per_query.mean())
        result.append(torch.stack(heads))
    return torch.stack(result)
