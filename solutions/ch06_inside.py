"""Chapter 6: look inside a trained model.

What does each head look at, and how far? Which patches does the answer depend on? Which heads could be left out, and at
which layer can the class be read? All of it works on your own model, in evaluation mode, and leaves it as it was.

B batch size · C, H, W image channels, height, width · P patch size · gh, gw patch grid · N = gh·gw patches ·
T = N + 1 tokens, CLS first · D = d_model · h heads · dh = D/h width of a head · L encoder layers · K classes

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), figure 7 and appendix D.7; Abnar & Zuidema 2020, "Quantifying
Attention Flow in Transformers" (arXiv:2005.00928); Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2, for occlusion;
Michel et al. 2019 (arXiv:1905.10650) for heads left out; Alain & Bengio 2017 (arXiv:1610.01644) for linear probes.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .ch01_patches import patch_grid

# Exercise 6.1


@torch.no_grad()
def attention_maps(model: nn.Module, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "L B h T T"]:
    """The attention weights of every block, each on the tokens that really reach it: after its norm1, dropout off.

    In evaluation mode and without gradients; the mode in which the model came is restored. The model keeps no hook.

    (B, C, H, W) -> (L, B, h, T, T)

    Source: Dosovitskiy et al. 2021, section 4.5.
    """
    was_training = model.training
    model.eval()
    x = model.patch_embedding(images)                               # (B, N, D)
    x = model.positional_encoding(x)                                # (B, T, D)
    maps = []
    for block in model.blocks:
        normed = block.norm1(x)                                     # (B, T, D)
        _, weights = block.attention(normed, return_weights=True)   # (B, h, T, T)
        maps.append(weights)
        x = block(x)                                                # (B, T, D)
    model.train(was_training)
    return torch.stack(maps)                                        # (L, B, h, T, T)


# Exercise 6.2


def attention_distance(
    weights: Float[Tensor, "L B h T T"], grid: tuple[int, int], patch_size: int
) -> Float[Tensor, "L h"]:
    """How far each head looks: the mean distance, in pixels, from a query's patch to the patches it attends to.

    Distances run between the centres of patches and are weighted by attention. CLS, which has no place, is left out as
    query and as key, and each row is made to sum to 1 again. Every query of every image then counts equally. The result
    is in the weights' dtype.

    (L, B, h, T, T) -> (L, h)

    Source: Dosovitskiy et al. 2021, figure 7 (right) and appendix D.7.
    """
    gh, gw = grid
    places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw))               # (N, 2), row and column
    centres = patch_size * (places.to(weights) + 0.5)               # (N, 2), pixels
    offsets = centres.unsqueeze(1) - centres.unsqueeze(0)           # (N, N, 2)
    distances = offsets.square().sum(dim=-1).sqrt()                 # (N, N), pixels
    weights = weights[..., 1:, 1:]                                  # (L, B, h, N, N)
    weights = weights / weights.sum(dim=-1, keepdim=True)           # (L, B, h, N, N)
    distance = (weights * distances).sum(dim=-1)                    # (L, B, h, N), one of each query
    return distance.mean(dim=(1, 3))                                # (L, h)


# Exercise 6.3


def attention_rollout(weights: Float[Tensor, "L B h T T"], residual: float = 0.5) -> Float[Tensor, "B T T"]:
    """Where each token at the end comes from, if attention were all that moves information: a product over layers.

    A layer's matrix is (1 - residual)·A + residual·I: A is the mean over its heads, and I stands for the residual
    connection. Later layers multiply from the left. Rows sum to 1. The result is in the weights' dtype.

    (L, B, h, T, T) -> (B, T, T)

    Source: Abnar & Zuidema 2020, section 3 (attention rollout).
    """
    attention = weights.mean(dim=2)                                 # (L, B, T, T)
    identity = torch.eye(weights.shape[-1]).to(weights)             # (T, T)
    layers = (1 - residual) * attention + residual * identity       # (L, B, T, T)
    rollout = layers[0]                                             # (B, T, T)
    for layer in layers[1:]:
        rollout = layer @ rollout                                   # (B, T, T)
    return rollout


# Exercise 6.4


@torch.no_grad()
def occlusion_map(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, "B"],
    patch_size: int,
    fill: float = 0.0,
) -> Float[Tensor, "B gh gw"]:
    """By how much the logit of each image's own label falls when one patch is covered, for every patch in turn.

    A covered patch is filled with `fill` in all channels; the next one is covered on the whole image again. patch_size
    need not be the model's. In evaluation mode and without gradients; the mode in which the model came is restored, and
    images and model stay as they were.

    (B, C, H, W), (B) -> (B, gh, gw)

    Raises ValueError when H or W is not divisible by patch_size.

    Source: Zeiler & Fergus 2014, section 4.2.
    """
    gh, gw = patch_grid(images.shape[2], images.shape[3], patch_size)
    was_training = model.training
    model.eval()
    label_column = labels.unsqueeze(1)                              # (B, 1)
    whole = model(images).gather(1, label_column)                   # (B, 1)
    falls = []
    for row in range(0, gh * patch_size, patch_size):
        for column in range(0, gw * patch_size, patch_size):
            covered = images.clone()                                # (B, C, H, W)
            covered[:, :, row : row + patch_size, column : column + patch_size] = fill
            logit = model(covered).gather(1, label_column)          # (B, 1)
            falls.append(whole - logit)
    model.train(was_training)
    return torch.cat(falls, dim=1).unflatten(1, (gh, gw))           # (B, gh, gw)


# Exercise 6.5


def ablate_head(model: nn.Module, layer: int, head: int) -> nn.Module:
    """A copy of the model in which one head of one layer gives nothing to the residual stream.

    A head's output, dh columns wide, reaches the stream through its own dh columns of `out.weight` alone. Layers and
    heads are counted from 0. In everything else, mode and trainable parameters included, the copy is like the model.
    The model itself is left as it was, and shares no memory with the copy.

    Source: Michel et al. 2019, section 2.3.
    """
    ablated = copy.deepcopy(model)
    attention = ablated.blocks[layer].attention
    d_head = attention.out.in_features // attention.n_heads
    start = head * d_head
    with torch.no_grad():
        attention.out.weight[:, start : start + d_head] = 0         # (D, dh)
    return ablated


# Exercise 6.6


def linear_probe(
    features: Float[Tensor, "n D"], labels: Int[Tensor, "n"], n_classes: int, ridge: float = 1e-2
) -> tuple[Float[Tensor, "D K"], Float[Tensor, "K"]]:
    """The linear map that reads the class off features best: ridge regression on one-hot targets y, solved exactly.

    W and b minimise (1/n)·Σᵢ‖xᵢ·W + b - yᵢ‖² + ridge·‖W‖². The bias is not penalised. A class may have no example.

    (n, D), (n) -> weight (D, K), bias (K)

    Source: Alain & Bengio 2017, for the probe; Hastie et al., "The Elements of Statistical Learning", section 3.4.1,
    for ridge regression.
    """
    targets = F.one_hot(labels, n_classes).to(features)             # (n, K)
    x_mean = features.mean(dim=0)                                   # (D)
    y_mean = targets.mean(dim=0)                                    # (K)
    x = features - x_mean                                           # (n, D)
    y = targets - y_mean                                            # (n, K)
    covariance = x.T @ x / len(x)                                   # (D, D)
    penalty = ridge * torch.eye(x.shape[1]).to(x)                   # (D, D)
    weight = torch.linalg.solve(covariance + penalty, x.T @ y / len(x))             # (D, K)
    bias = y_mean - x_mean @ weight                                 # (K)
    return weight, bias
