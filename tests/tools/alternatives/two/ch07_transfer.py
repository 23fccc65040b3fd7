"""Chapter 7 in a beginner's right ways: name by name, loops over heads, one group per parameter, while."""

import torch

from .ch02_tokens import resize_positions
from .ch05_vit import cross_entropy


def from_jax(checkpoint, n_layers):
    state = {}
    state["positional_encoding.cls_token"] = checkpoint["cls"]
    state["positional_encoding.positions"] = checkpoint["Transformer/posembed_input/pos_embedding"]
    kernel = checkpoint["embedding/kernel"]
    kernel = kernel.transpose(0, 3)
    kernel = kernel.transpose(1, 2)
    kernel = kernel.transpose(2, 3)
    state["patch_embedding.projection.weight"] = kernel
    state["patch_embedding.projection.bias"] = checkpoint["embedding/bias"]
    for i in range(n_layers):
        a = "blocks." + str(i) + "."
        b = "Transformer/encoderblock_" + str(i) + "/"
        state[a + "norm1.weight"] = checkpoint[b + "LayerNorm_0/scale"]
        state[a + "norm1.bias"] = checkpoint[b + "LayerNorm_0/bias"]
        state[a + "norm2.weight"] = checkpoint[b + "LayerNorm_2/scale"]
        state[a + "norm2.bias"] = checkpoint[b + "LayerNorm_2/bias"]
        m = b + "MultiHeadDotProductAttention_1/"
        n_heads = checkpoint[m + "query/bias"].shape[0]
        weights = []
        biases = []
        for name in ["query", "key", "value"]:
            for head in range(n_heads):
                weights.append(checkpoint[m + name + "/kernel"][:, head, :].t())
                biases.append(checkpoint[m + name + "/bias"][head])
        state[a + "attention.qkv.weight"] = torch.cat(weights, dim=0)
        state[a + "attention.qkv.bias"] = torch.cat(biases, dim=0)
        columns = []
        for head in range(n_heads):
            columns.append(checkpoint[m + "out/kernel"][head].t())
        state[a + "attention.out.weight"] = torch.cat(columns, dim=1)
        state[a + "attention.out.bias"] = checkpoint[m + "out/bias"]
        state[a + "mlp.fc1.weight"] = checkpoint[b + "MlpBlock_3/Dense_0/kernel"].t()
        state[a + "mlp.fc1.bias"] = checkpoint[b + "MlpBlock_3/Dense_0/bias"]
        state[a + "mlp.fc2.weight"] = checkpoint[b + "MlpBlock_3/Dense_1/kernel"].t()
        state[a + "mlp.fc2.bias"] = checkpoint[b + "MlpBlock_3/Dense_1/bias"]
    state["norm.weight"] = checkpoint["Transformer/encoder_norm/scale"]
    state["norm.bias"] = checkpoint["Transformer/encoder_norm/bias"]
    state["head.weight"] = checkpoint["head/kernel"].t()
    state["head.bias"] = checkpoint["head/bias"]
    return state


def adapt_state_dict(state, grid, new_grid, n_classes):
    new_state = {}
    for name in state:
        old = state[name].detach()
        if name == "positional_encoding.positions":
            new_state[name] = resize_positions(old, grid, new_grid).clone()
        elif name == "head.weight":
            new_state[name] = torch.zeros(n_classes, old.shape[1], dtype=old.dtype)
        elif name == "head.bias":
            new_state[name] = torch.zeros(n_classes, dtype=old.dtype)
        else:
            new_state[name] = old.clone()
    return new_state


def param_groups(model, lr, weight_decay, layer_decay=1.0):
    n_layers = 0
    for name, _ in model.named_parameters():
        if name.startswith("blocks."):
            n_layers = max(n_layers, int(name.split(".")[1]) + 1)
    groups = []
    for name, parameter in model.named_parameters():
        if name.startswith("head.") or name.startswith("norm."):
            k = 0
        elif name.startswith("blocks."):
            k = n_layers - int(name.split(".")[1])
        else:
            k = n_layers + 1
        rate = lr
        for _ in range(k):
            rate = rate * layer_decay
        group = {"params": [parameter], "lr": rate, "weight_decay": weight_decay}
        if len(parameter.shape) == 1 or name.endswith("cls_token") or name.endswith("positions"):
            group["weight_decay"] = 0
        groups.append(group)
    return groups


def mixup(images, labels, n_classes, lam, order):
    mixed = []
    targets = []
    for i in range(len(images)):
        j = int(order[i])
        mixed.append(images[i] * lam + images[j] * (1 - lam))
        target = torch.zeros(n_classes, dtype=images.dtype)
        target[labels[i]] += lam
        target[labels[j]] += 1 - lam
        targets.append(target)
    return torch.stack(mixed), torch.stack(targets)


def soft_cross_entropy(logits, targets):
    largest = logits.max(dim=1, keepdim=True).values
    shifted = logits - largest
    log_p = shifted - torch.log(torch.exp(shifted).sum(dim=1, keepdim=True))
    total = 0
    for k in range(logits.shape[1]):
        total = total - targets[:, k] * log_p[:, k]
    return total.mean()


def accumulated_step(model, images, labels, optimizer, micro_batch):
    model.train()
    for parameter in model.parameters():
        parameter.grad = None
    n_images = images.shape[0]
    loss_of_all = 0
    first = 0
    while first < n_images:
        last = min(first + micro_batch, n_images)
        loss = cross_entropy(model(images[first:last]), labels[first:last])
        loss = loss * (last - first)
        loss = loss / n_images
        loss.backward()
        loss_of_all = loss_of_all + loss.detach()
        first = last
    optimizer.step()
    return loss_of_all
