"""Chapter 6 in a beginner's right ways: loops, tables filled number by number, a state dict, an inverse matrix."""

import copy
import math

import torch


def attention_maps(model, images):
    training = model.training
    model.eval()
    all_weights = []
    with torch.no_grad():
        tokens = model.patch_embedding(images)
        tokens = model.positional_encoding(tokens)
        for number in range(len(model.blocks)):
            block = model.blocks[number]
            normed = block.norm1(tokens)
            output, weights = block.attention(normed, return_weights=True)
            all_weights.append(weights.unsqueeze(0))
            tokens = tokens + output
            tokens = tokens + block.mlp(block.norm2(tokens))
    if training:
        model.train()
    return torch.cat(all_weights, dim=0)


def attention_distance(weights, grid, patch_size):
    rows, columns = grid
    n_layers, n_images, n_heads = weights.shape[0], weights.shape[1], weights.shape[2]
    total = torch.zeros(n_layers, n_heads, dtype=weights.dtype, device=weights.device)
    for query in range(rows * columns):
        share = weights[:, :, :, query + 1, 1:]
        share = share / share.sum(dim=3, keepdim=True)
        for key in range(rows * columns):
            down = (query // columns - key // columns) * patch_size
            across = (query % columns - key % columns) * patch_size
            distance = math.sqrt(down**2 + across**2)
            total = total + (share[:, :, :, key] * distance).sum(dim=1)
    return total / (n_images * rows * columns)


def attention_rollout(weights, residual=0.5):
    n_layers, n_images, n_heads, n_tokens, _ = weights.shape
    result = torch.zeros(n_images, n_tokens, n_tokens, dtype=weights.dtype, device=weights.device)
    for image in range(n_images):
        for layer in range(n_layers):
            mean = weights[layer, image, 0]
            for head in range(1, n_heads):
                mean = mean + weights[layer, image, head]
            mixed = (1 - residual) * mean / n_heads
            for token in range(n_tokens):
                mixed[token, token] = mixed[token, token] + residual
            if layer == 0:
                result[image] = mixed
            else:
                result[image] = torch.matmul(mixed, result[image].clone())
    return result


def occlusion_map(model, images, labels, patch_size, fill=0.0):
    height, width = images.shape[2], images.shape[3]
    if height % patch_size != 0:
        raise ValueError("the height doesn't fit")
    if width % patch_size != 0:
        raise ValueError("the width doesn't fit")
    training = model.training
    model.eval()
    with torch.no_grad():
        before = model(images)
        result = torch.zeros(
            images.shape[0], height // patch_size, width // patch_size, dtype=before.dtype, device=before.device
        )
        for top in range(0, height, patch_size):
            for left in range(0, width, patch_size):
                changed = images.clone()
                changed[:, :, top : top + patch_size, left : left + patch_size] = fill
                after = model(changed)
                for image in range(len(images)):
                    label = int(labels[image])
                    fall = before[image, label] - after[image, label]
                    result[image, top // patch_size, left // patch_size] = fall
    model.train(training)
    return result


def ablate_head(model, layer, head):
    new_model = copy.deepcopy(model)
    d_head = new_model.blocks[layer].attention.d_head
    state = new_model.state_dict()
    name = "blocks." + str(layer) + ".attention.out.weight"
    weight = state[name].clone()
    for column in range(head * d_head, (head + 1) * d_head):
        weight[:, column] = 0
    state[name] = weight
    new_model.load_state_dict(state)
    return new_model


def linear_probe(features, labels, n_classes, ridge=1e-2):
    n, d = features.shape
    targets = torch.zeros(n, n_classes, dtype=features.dtype, device=features.device)
    for example in range(n):
        targets[example, labels[example]] = 1
    ones = torch.ones(n, 1, dtype=features.dtype, device=features.device)
    x = torch.cat([features, ones], dim=1)
    matrix = torch.matmul(x.T, x) / n
    for feature in range(d):  # not the last one, which is the bias
        matrix[feature, feature] = matrix[feature, feature] + ridge
    solution = torch.matmul(torch.inverse(matrix), torch.matmul(x.T, targets) / n)
    weight = solution[:d, :]
    bias = solution[d, :]
    return weight, bias
