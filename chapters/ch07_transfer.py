"""Chapter 7: from MNIST to ViT-B/16.

Your model is the published one at another size. Here you load the published weights, and make them fit your task:
positions for another image size, a new head, gentler steps for lower layers, mixed images, large batches.

B batch size · C, H, W image channels, height, width · P patch size · gh, gw patch grid · T = gh·gw + 1 tokens,
CLS first · D = d_model · h heads · dh = D/h width of a head · L encoder layers · K classes

Sources: Dosovitskiy et al. 2021 (arXiv:2010.11929), section 3.2 and appendix B.1, and its code,
github.com/google-research/vision_transformer; Clark et al. 2020, "ELECTRA" (arXiv:2003.10555), and Bao et al. 2022,
"BEiT" (arXiv:2106.08254), for layer-wise decay; Zhang et al. 2018, "mixup" (arXiv:1710.09412).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from .ch02_tokens import resize_positions
from .ch05_vit import cross_entropy

# Exercise 7.1


def from_jax(checkpoint: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """A checkpoint of the original ViT, as a state dict of your VisionTransformer.

    Its names: `cls`, `embedding`, `Transformer/posembed_input/pos_embedding`, `Transformer/encoder_norm`, `head`; and
    of block i, below `Transformer/encoderblock_{i}`: `LayerNorm_0` and `LayerNorm_2`, `MlpBlock_3/Dense_0` and
    `Dense_1`, `MultiHeadDotProductAttention_1/query`, `key`, `value` and `out`. Each layer ends in `/kernel` and
    `/bias`, each norm in `/scale` and `/bias`. Other keys are ignored.

    Flax keeps a dense kernel as (in, out), where nn.Linear keeps (out, in); a convolution's kernel as (P, P, C, D);
    query, key and value apart, as (D, h, dh) with biases (h, dh); out as (h, dh, D) with a bias (D).

    Source: google-research/vision_transformer, vit_jax/models_vit.py; Dosovitskiy et al. 2021, appendix A.
    """
    # 1. embedding, CLS, positions: which axis of the kernel is which?
    # 2. of each block: both norms; qkv, out; fc1, fc2
    # 3. the last norm, the head
    raise NotImplementedError("exercise 7.1 is yours to write; for a hint: vitcourse hint 7.1")


# Exercise 7.2


def adapt_state_dict(
    state: dict[str, Tensor], grid: tuple[int, int], new_grid: tuple[int, int], n_classes: int
) -> dict[str, Tensor]:
    """A state dict for images of another size and for other classes: what fine-tuning starts from.

    Positions are resized from grid to new_grid. The head starts again at zeros, even where the number of classes stays,
    so that the first loss is ln K. Every other tensor is an equal copy. All are detached and share no memory with
    the old ones, which stay as they are.

    Source: Dosovitskiy et al. 2021, section 3.2.
    """
    # 1. a copy of every tensor
    # 2. positions on the new grid
    # 3. a head of zeros for the new classes
    raise NotImplementedError("exercise 7.2 is yours to write; for a hint: vitcourse hint 7.2")


# Exercise 7.3


def param_groups(
    model: nn.Module, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, list[nn.Parameter] | float]]:
    """The parameters in groups for an optimizer: each with its learning rate and its weight decay.

    The learning rate is lr·layer_decay^k: k is 0 for `head` and `norm`, 1 for the last block, and so on to L for the
    first, and L + 1 for the patch embedding, CLS and the positions. Weight decay is 0 for every tensor of one axis (all
    biases, all norms), for `cls_token` and for `positions`.

    Each parameter is in exactly one group, frozen ones too. A group is {"params": [...], "lr": ...,
    "weight_decay": ...}; how many there are, and in which order, is free.

    Source: Clark et al. 2020 and Bao et al. 2022 (layer-wise learning rate decay); timm for what isn't decayed.
    """
    # Of each named parameter:
    # 1. how far below the head it stands, from its name
    # 2. whether it decays, from its axes and its name
    # 3. into the group for this depth and decay
    raise NotImplementedError("exercise 7.3 is yours to write; for a hint: vitcourse hint 7.3")


# Exercise 7.4


def mixup(
    images: Float[Tensor, "B C H W"], labels: Int[Tensor, "B"], n_classes: int, lam: float, order: Int[Tensor, "B"]
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B K"]]:
    """Mix every image with another one of the batch, λ to 1 - λ, and its one-hot label likewise.

    order is a permutation of the batch: image i is mixed with image order[i]. Targets are in the images' dtype.

    (B, C, H, W), (B) -> images (B, C, H, W), targets (B, K)

    Source: Zhang et al. 2018, section 2.
    """
    # 1. one-hot targets, in the images' dtype:   (B, K)
    # 2. mix the images:                          (B, C, H, W)
    # 3. mix the targets in the same way:         (B, K)
    raise NotImplementedError("exercise 7.4 is yours to write; for a hint: vitcourse hint 7.4")


def soft_cross_entropy(logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """The mean, over the batch, of -Σ t·log p: cross-entropy for targets that are shared out over classes.

    Finite for logits of ±10,000, in their dtype, and equal to cross_entropy where all of a target is on one class.

    (B, K), (B, K) -> ()

    Not to be called here: nn.CrossEntropyLoss, F.cross_entropy, F.kl_div. log_softmax and one_hot may be.

    Source: Zhang et al. 2018, section 2.
    """
    # 1. log p of every class:       (B, K)
    # 2. -Σ t·log p of each image:   (B)
    # 3. the mean over the batch:    ()
    raise NotImplementedError("exercise 7.4 is yours to write; for a hint: vitcourse hint 7.4")


# Exercise 7.5


def accumulated_step(
    model: nn.Module,
    images: Float[Tensor, "B C H W"],
    labels: Int[Tensor, "B"],
    optimizer: torch.optim.Optimizer,
    micro_batch: int,
) -> Float[Tensor, ""]:
    """One step of optimisation on a batch too large for the device: gradients add up, micro-batch by micro-batch.

    In training mode, in which the model is left. The update is that of one step on the whole batch, also when the last
    micro-batch is smaller, or micro_batch larger than the batch; never more than one micro-batch's graph is alive.
    Returns the mean loss over the batch, from before the update, as a detached 0-d tensor on its device: nothing here
    waits for the GPU.

    (B, C, H, W), (B) -> ()

    Source: Dosovitskiy et al. 2021, appendix B.1, for the batch of 4,096.
    """
    # 1. training mode; clear the old gradients
    # 2. micro-batch by micro-batch: forward; its loss, weighted by its share of the batch; backward
    # 3. one optimizer step
    # 4. the mean loss, cut off from the graph
    raise NotImplementedError("exercise 7.5 is yours to write; for a hint: vitcourse hint 7.5")
