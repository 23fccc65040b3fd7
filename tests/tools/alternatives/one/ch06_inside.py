"""Chapter 6 in other right ways: hooks, complex numbers for places, lerp, one batch of masks, least squares."""

import copy
from functools import reduce

import torch


def attention_maps(model, images):
    was_training, normed, handles = model.training, [], []
    for block in model.blocks:
        handles.append(block.norm1.register_forward_hook(lambda module, inputs, output: normed.append(output)))
    model.eval()
    try:
        with torch.no_grad():
            model(images)
            for handle in handles:
                handle.remove()
            pairs = zip(model.blocks, list(normed), strict=True)
            return torch.stack([block.attention(x, return_weights=True)[1] for block, x in pairs])
    finally:
        model.train(was_training)


def attention_distance(weights, grid, patch_size):
    places = torch.complex(
        *torch.meshgrid(*(torch.arange(0.5, side).to(weights) for side in grid), indexing="ij")
    ).flatten()
    distances = (patch_size * (places[:, None] - places).abs()).to(weights)
    patches = weights[..., 1:, 1:]
    rows = torch.einsum("lbhqk,qk->lbhq", patches, distances) / patches.sum(-1)
    return rows.mean(-1).mean(1)


def attention_rollout(weights, residual=0.5):
    attention = torch.einsum("lbhqk->lbqk", weights) / weights.size(2)
    identity = torch.eye(weights.size(-1), dtype=weights.dtype, device=weights.device)
    layers = torch.lerp(attention, identity.expand_as(attention), residual)
    return reduce(lambda below, above: above @ below, layers.unbind(0))


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    B, (H, W), P = len(images), images.shape[2:], patch_size
    if H % P or W % P:
        raise ValueError(f"patches of {P} don't fill {H} x {W}")
    gh, gw = H // P, W // P
    square = torch.ones(P, P, dtype=torch.bool, device=images.device)
    masks = torch.stack([torch.kron(one.view(gh, gw), square) for one in torch.eye(gh * gw, device=images.device)])
    covered = images[:, None].masked_fill(masks.bool()[None, :, None], fill)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        whole = model(images)[torch.arange(B), labels]
        logits = model(covered.flatten(0, 1)).view(B, gh * gw, -1)[torch.arange(B), :, labels]
    model.train(was_training)
    return (whole[:, None] - logits).reshape(B, gh, gw)


def ablate_head(model, layer, head):
    ablated = copy.deepcopy(model)
    attention = ablated.blocks[layer].attention
    weight = attention.out.weight.data
    weight.view(len(weight), attention.h, -1)[:, head].zero_()
    return ablated


def linear_probe(features, labels, n_classes, ridge=1e-2):
    (n, D), like = features.shape, {"dtype": features.dtype, "device": features.device}
    targets = torch.zeros(n, n_classes, **like).scatter_(1, labels[:, None], 1.0)
    rows = torch.cat([features, torch.ones(n, 1, **like)], 1)
    more = torch.cat([(n * ridge) ** 0.5 * torch.eye(D, **like), torch.zeros(D, 1, **like)], 1)
    aims = torch.cat([targets, torch.zeros(D, n_classes, **like)])
    found = torch.linalg.lstsq(torch.cat([rows, more]), aims).solution
    return found.split([D, 1])[0], found[D]
