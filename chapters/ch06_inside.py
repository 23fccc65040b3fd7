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
    # 1. remember the mode; switch to evaluation
    # 2. patches, CLS, positions:                              (B, C, H, W) -> (B, T, D)
    # 3. block by block: its weights on the normed tokens:     (B, h, T, T)
    #                    the block itself, for the next one:   (B, T, D)
    # 4. restore the mode
    # 5. stack the layers:                                     (L, B, h, T, T)
    raise NotImplementedError("exercise 6.1 is yours to write; for a hint: vitcourse hint 6.1")


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
    # 1. the centre of each patch, in pixels, row by row:    (N, 2)
    # 2. the distance between every two of them:             (N, N)
    # 3. weights without CLS, each row summing to 1 again:   (L, B, h, N, N)
    # 4. the distances, weighted by them:                    (L, B, h, N)
    # 5. the mean over queries and images:                   (L, h)
    raise NotImplementedError("exercise 6.2 is yours to write; for a hint: vitcourse hint 6.2")


# Exercise 6.3


def attention_rollout(weights: Float[Tensor, "L B h T T"], residual: float = 0.5) -> Float[Tensor, "B T T"]:
    """Where each token at the end comes from, if attention were all that moves information: a product over layers.

    A layer's matrix is (1 - residual)·A + residual·I: A is the mean over its heads, and I stands for the residual
    connection. Later layers multiply from the left. Rows sum to 1. The result is in the weights' dtype.

    (L, B, h, T, T) -> (B, T, T)

    Source: Abnar & Zuidema 2020, section 3 (attention rollout).
    """
    # 1. the mean over the heads:                   (L, B, T, T)
    # 2. mix in the identity:                       (L, B, T, T)
    # 3. multiply, layer by layer, from the left:   (B, T, T)
    raise NotImplementedError("exercise 6.3 is yours to write; for a hint: vitcourse hint 6.3")


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
    # 1. gh and gw, and the error for sizes that don't divide
    # 2. remember the mode; switch to evaluation
    # 3. the label's logit on the whole image:           (B, 1)
    # 4. patch by patch: cover it on a copy:             (B, C, H, W)
    #                    how far the logit then falls:   (B, 1)
    # 5. restore the mode
    # 6. put the falls in a grid:                        (B, gh, gw)
    raise NotImplementedError("exercise 6.4 is yours to write; for a hint: vitcourse hint 6.4")


# Exercise 6.5


def ablate_head(model: nn.Module, layer: int, head: int) -> nn.Module:
    """A copy of the model in which one head of one layer gives nothing to the residual stream.

    A head's output, dh columns wide, reaches the stream through its own dh columns of `out.weight` alone. Layers and
    heads are counted from 0. In everything else, mode and trainable parameters included, the copy is like the model.
    The model itself is left as it was, and shares no memory with the copy.

    Source: Michel et al. 2019, section 2.3.
    """
    # 1. a copy of the whole model
    # 2. the dh columns through which this head reaches the stream
    # 3. silence them, without gradients
    raise NotImplementedError("exercise 6.5 is yours to write; for a hint: vitcourse hint 6.5")


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
    # 1. one-hot targets:                           (n, K)
    # 2. features and targets minus their means:    (n, D), (n, K)
    # 3. solve (XᵀX/n + ridge·I)·W = XᵀY/n for W:   (D, K)
    # 4. the bias that brings the means back:       (K)
    raise NotImplementedError("exercise 6.6 is yours to write; for a hint: vitcourse hint 6.6")
