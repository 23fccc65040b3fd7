"""Chapter 7 in an expert's right ways: regular expressions, a match on axes, defaultdict, index_add, autograd.grad."""

import copy
import math
import re
from collections import OrderedDict, defaultdict

import torch
from einops import einsum, pack, rearrange

from .ch02_tokens import resize_positions
from .ch05_vit import cross_entropy

_RENAMED = (
    (r"^cls$", "positional_encoding.cls_token"),
    (r"^Transformer/posembed_input/pos_embedding$", "positional_encoding.positions"),
    (r"^embedding/", "patch_embedding.projection."),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^head/", "head."),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"LayerNorm_0/", "norm1."),
    (r"LayerNorm_2/", "norm2."),
    (r"MlpBlock_3/Dense_0/", "mlp.fc1."),
    (r"MlpBlock_3/Dense_1/", "mlp.fc2."),
    (r"MultiHeadDotProductAttention_1/(\w+)/", r"attention.\1."),
    (r"(kernel|scale)$", "weight"),
)


def from_jax(checkpoint, n_layers):
    state, qkv = OrderedDict(), defaultdict(dict)
    for key, tensor in checkpoint.items():
        name = key
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        block = re.match(r"blocks\.(\d+)\.", name)
        if "/" in name or (block and int(block[1]) >= n_layers):
            continue
        match key.rsplit("/", 2)[1:]:
            case ["query" | "key" | "value" as part, kind]:
                pattern = "d h e -> (h e) d" if kind == "kernel" else "h e -> (h e)"
                qkv[name.replace(f".{part}.", ".qkv.")][part] = rearrange(tensor, pattern)
            case ["out", "kernel"]:
                state[name] = rearrange(tensor, "h e d -> d (h e)")
            case [*_, "kernel"]:
                state[name] = tensor.mT if tensor.ndim == 2 else rearrange(tensor, "p q c d -> d c p q")
            case _:
                state[name] = tensor
    for name, parts in qkv.items():
        rows = [parts["query"], parts["key"], parts["value"]]
        state[name] = pack(rows, "* d" if name.endswith("weight") else "*")[0]
    return state


def adapt_state_dict(state, grid, new_grid, n_classes):
    adapted = copy.deepcopy(OrderedDict((name, tensor.detach()) for name, tensor in state.items()))
    table = adapted["positional_encoding.positions"]
    finer = torch.promote_types(table.dtype, torch.float32)
    return adapted | {
        "positional_encoding.positions": resize_positions(table.to(finer), grid, new_grid).to(table.dtype),
        "head.weight": torch.zeros_like(adapted["head.weight"][:1]).repeat(n_classes, 1),
        "head.bias": torch.zeros_like(adapted["head.bias"][:1]).repeat(n_classes),
    }


def param_groups(model, lr, weight_decay, layer_decay=1.0):
    depth = {id(p): len(model.blocks) + 1 for p in model.parameters()}
    depth |= {id(p): k for k, block in enumerate(reversed(list(model.blocks)), 1) for p in block.parameters()}
    depth |= {id(p): 0 for part in (model.head, model.norm) for p in part.parameters()}
    tokens = {id(p) for p in model.positional_encoding.parameters()}
    groups = defaultdict(list)
    for p in model.parameters():
        groups[depth[id(p)], 0.0 if p.ndim < 2 or id(p) in tokens else weight_decay].append(p)
    return [
        {"lr": lr * math.pow(layer_decay, k), "weight_decay": decay, "params": params, "depth": k}
        for (k, decay), params in sorted(groups.items(), key=lambda item: item[0])
    ]


def mixup(images, labels, n_classes, lam, order):
    shares = torch.tensor([lam, 1 - lam], dtype=images.dtype, device=images.device)
    mixed = einsum(shares, torch.stack([images, images[order]]), "two, two b c h w -> b c h w")
    rows = torch.eye(n_classes, dtype=images.dtype, device=images.device)
    targets = einsum(shares, rows[torch.stack([labels, labels[order]])], "two, two b k -> b k")
    return mixed, targets


def soft_cross_entropy(logits, targets):
    surprise = logits.logsumexp(-1, keepdim=True) - logits
    return einsum(targets, surprise, "b k, b k -> b").mean()


def accumulated_step(model, images, labels, optimizer, micro_batch):
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]

    def closure():
        for p in trained:
            p.grad = torch.zeros_like(p)
        total = images.new_zeros(())
        for own in torch.arange(len(images), device=images.device).split(micro_batch):
            loss = cross_entropy(model(images[own]), labels[own]) * (len(own) / len(images))
            for p, gradient in zip(trained, torch.autograd.grad(loss, trained), strict=True):
                p.grad += gradient
            total += loss.detach()
        return total

    model.train()
    return optimizer.step(closure)
