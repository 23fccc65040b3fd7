"""Chapter 7 in other right ways: a table of layers, groups from walked modules, lerp, split."""

import torch
import torch.nn.functional as F

from .ch02_tokens import resize_positions
from .ch05_vit import cross_entropy

OUTSIDE = {
    "patch_embedding.projection": "embedding",
    "norm": "Transformer/encoder_norm",
    "head": "head",
}
IN_A_BLOCK = {
    "norm1": "LayerNorm_0",
    "norm2": "LayerNorm_2",
    "attention.out": "MultiHeadDotProductAttention_1/out",
    "mlp.fc1": "MlpBlock_3/Dense_0",
    "mlp.fc2": "MlpBlock_3/Dense_1",
}


def _weight(checkpoint, theirs):
    if f"{theirs}/scale" in checkpoint:
        return checkpoint[f"{theirs}/scale"]
    kernel = checkpoint[f"{theirs}/kernel"]
    if kernel.ndim == 4:
        return kernel.permute(3, 2, 0, 1)
    return kernel.flatten(0, -2).T


def from_jax(checkpoint, n_layers):
    state = {
        "positional_encoding.cls_token": checkpoint["cls"].clone(),
        "positional_encoding.positions": checkpoint["Transformer/posembed_input/pos_embedding"].clone(),
    }
    layers = dict(OUTSIDE)
    for i in range(n_layers):
        layers.update({f"blocks.{i}.{a}": f"Transformer/encoderblock_{i}/{b}" for a, b in IN_A_BLOCK.items()})
    for ours, theirs in layers.items():
        state[f"{ours}.weight"] = _weight(checkpoint, theirs).contiguous()
        state[f"{ours}.bias"] = checkpoint[f"{theirs}/bias"].clone()
    for i in range(n_layers):
        attention = f"Transformer/encoderblock_{i}/MultiHeadDotProductAttention_1"
        kernels = torch.stack([checkpoint[f"{attention}/{part}/kernel"] for part in ("query", "key", "value")])
        biases = torch.stack([checkpoint[f"{attention}/{part}/bias"] for part in ("query", "key", "value")])
        state[f"blocks.{i}.attention.qkv.weight"] = kernels.flatten(2).transpose(1, 2).flatten(0, 1)
        state[f"blocks.{i}.attention.qkv.bias"] = biases.flatten()
    return state


@torch.no_grad()
def adapt_state_dict(state, grid, new_grid, n_classes):
    new = {key: torch.clone(value) for key, value in state.items() if not key.startswith("head.")}
    if tuple(grid) != tuple(new_grid):
        key = "positional_encoding.positions"
        new[key] = resize_positions(new[key], grid, new_grid)
    for key in ("head.weight", "head.bias"):
        old = state[key]
        new[key] = torch.zeros((n_classes, *old.shape[1:]), dtype=old.dtype, device=old.device)
    return new


def param_groups(model, lr, weight_decay, layer_decay=1.0):
    levels = [(model.norm, model.head)]
    levels += [(block,) for block in list(model.blocks)[::-1]]
    levels += [(model.patch_embedding, model.positional_encoding)]
    groups = []
    rate = lr
    for modules in levels:
        named = [pair for module in modules for pair in module.named_parameters()]
        spared = [p for name, p in named if p.dim() == 1 or name in ("cls_token", "positions")]
        known = {id(p) for p in spared}
        groups.append({"params": [p for _, p in named if id(p) not in known], "lr": rate, "weight_decay": weight_decay})
        groups.append({"params": spared, "lr": rate, "weight_decay": 0.0})
        rate = rate * layer_decay
    return groups


def mixup(images, labels, n_classes, lam, order):
    targets = torch.zeros(len(labels), n_classes, dtype=images.dtype, device=images.device)
    targets.scatter_(1, labels.unsqueeze(1), 1.0)
    return torch.lerp(images[order], images, lam), torch.lerp(targets[order], targets, lam)


def soft_cross_entropy(logits, targets):
    return -(targets * F.log_softmax(logits, dim=1)).sum() / logits.shape[0]


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train(True)
    optimizer.zero_grad(set_to_none=True)
    losses = []
    for some, theirs in zip(images.split(micro_batch), labels.split(micro_batch), strict=True):
        loss = cross_entropy(model(some), theirs) * (some.shape[0] / images.shape[0])
        loss.backward()
        losses.append(loss.detach())
    optimizer.step()
    return torch.stack(losses).sum()
