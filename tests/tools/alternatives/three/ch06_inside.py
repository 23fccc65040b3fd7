"""Chapter 6 in an expert's right ways: a forward for a while, cdist, multi_dot, masks drawn large, the dual problem."""

import contextlib
import copy

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import nn
from torch.nn.utils import parametrize


@contextlib.contextmanager
def _evaluating(model):
    before = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode():
            yield model.eval()
    finally:
        for module, training in before.items():
            module.training = training


def attention_maps(model, images):
    maps = []

    def telling(attention):
        def forward(x):
            output, weights = type(attention).forward(attention, x, return_weights=True)
            maps.append(weights)
            return output

        return forward

    with _evaluating(model), contextlib.ExitStack() as undo:
        for block in model.blocks:
            block.attention.forward = telling(block.attention)
            undo.callback(delattr, block.attention, "forward")
        model(images)
    return torch.stack(maps)


def attention_distance(weights, grid, patch_size):
    gh, gw = grid
    index = torch.arange(gh * gw, device=weights.device)
    places = torch.stack([index.div(gw, rounding_mode="floor"), index.remainder(gw)], -1).double() * patch_size
    distances = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist").to(weights.dtype)
    rows = F.normalize(weights[..., 1:, 1:], p=1, dim=-1)
    return reduce(rows * distances, "l b h q k -> l b h q", "sum").mean((1, 3))


def attention_rollout(weights, residual=0.5):
    mixed = (1 - residual) * reduce(weights, "l b h i j -> l b i j", "mean")
    torch.diagonal(mixed, dim1=-2, dim2=-1).add_(residual)
    *rest, first = mixed.flip(0)
    for layer in reversed(rest):
        first = torch.baddbmm(torch.zeros_like(first), layer, first)
    return first


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    grid, remainders = zip(*(divmod(side, patch_size) for side in images.shape[-2:]), strict=True)
    if any(remainders):
        raise ValueError(f"{patch_size=} does not divide {tuple(images.shape[-2:])}")
    cells = torch.eye(grid[0] * grid[1], device=images.device).unflatten(1, grid).unsqueeze(1)
    windows = F.interpolate(cells, scale_factor=patch_size, mode="nearest").bool()
    with _evaluating(model):

        def own(logits):
            return logits.take_along_dim(labels[:, None], 1).squeeze(1)

        whole = own(model(images))
        falls = [whole - own(model(torch.where(window, fill, images))) for window in windows]
        return rearrange(falls, "(gh gw) b -> b gh gw", gh=grid[0])


class _Silent(nn.Module):
    def __init__(self, n_heads, head):
        super().__init__()
        self.n_heads, self.head = n_heads, head

    def forward(self, weight):
        columns = torch.arange(weight.shape[1], device=weight.device)
        return weight * (columns // (weight.shape[1] // self.n_heads) != self.head)


def ablate_head(model, layer, head):
    ablated = copy.deepcopy(model)
    attention = ablated.blocks[layer].attention
    parametrize.register_parametrization(attention.out, "weight", _Silent(attention.split["h"], head))
    return ablated


def linear_probe(features, labels, n_classes, ridge=1e-2):
    n = len(features)
    targets = torch.eye(n_classes, dtype=features.dtype, device=features.device)[labels]
    centre = torch.eye(n, dtype=features.dtype, device=features.device) - 1 / n
    x, y = centre @ features, centre @ targets
    gram = x @ x.mT
    gram.diagonal().add_(n * ridge)
    weight = x.mT @ torch.cholesky_solve(y, torch.linalg.cholesky(gram))
    return weight, (targets - features @ weight).mean(0)
