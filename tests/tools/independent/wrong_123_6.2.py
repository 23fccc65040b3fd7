# The patch centres are listed column by column (meshgrid with indexing='xy'), the tokens come row by row.
import torch


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    yy, xx = torch.meshgrid(
        torch.arange(gh, device=weights.device), torch.arange(gw, device=weights.device), indexing="xy"
    )
    centres = (torch.stack([yy.flatten(), xx.flatten()], dim=1).to(weights.dtype) + 0.5) * patch_size
    dist = (centres.unsqueeze(0) - centres.unsqueeze(1)).pow(2).sum(-1).sqrt()
    w = weights[:, :, :, 1:, 1:]
    w = w / w.sum(-1, keepdim=True)
    return (w * dist).sum(-1).mean(-1).mean(1)
