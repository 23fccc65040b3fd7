# After CLS is cut off, the rows are not made to sum to 1 again.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    rows = torch.arange(gh, dtype=weights.dtype, device=weights.device) * patch_size
    cols = torch.arange(gw, dtype=weights.dtype, device=weights.device) * patch_size
    places = torch.stack(torch.meshgrid(rows, cols, indexing="ij"), dim=-1).reshape(-1, 2)
    distances = (places[:, None] - places[None, :]).norm(dim=-1)
    patches = weights[..., 1:, 1:]
    return (patches * distances).sum(-1).mean(dim=(1, 3))
