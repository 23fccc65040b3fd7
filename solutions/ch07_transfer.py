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
    state = {
        "patch_embedding.projection.weight": rearrange(checkpoint["embedding/kernel"], "P1 P2 C D -> D C P1 P2"),
        "patch_embedding.projection.bias": checkpoint["embedding/bias"],
        "positional_encoding.cls_token": checkpoint["cls"],
        "positional_encoding.positions": checkpoint["Transformer/posembed_input/pos_embedding"],
    }
    for i in range(n_layers):
        ours = f"blocks.{i}"
        theirs = f"Transformer/encoderblock_{i}"
        for norm, layer in [("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")]:
            state[f"{ours}.{norm}.weight"] = checkpoint[f"{theirs}/{layer}/scale"]
            state[f"{ours}.{norm}.bias"] = checkpoint[f"{theirs}/{layer}/bias"]

        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        kernels = [checkpoint[f"{attention}/{name}/kernel"] for name in ("query", "key", "value")]
        biases = [checkpoint[f"{attention}/{name}/bias"] for name in ("query", "key", "value")]
        state[f"{ours}.attention.qkv.weight"] = rearrange(kernels, "qkv D h dh -> (qkv h dh) D")
        state[f"{ours}.attention.qkv.bias"] = rearrange(biases, "qkv h dh -> (qkv h dh)")
        state[f"{ours}.attention.out.weight"] = rearrange(checkpoint[f"{attention}/out/kernel"], "h dh D -> D (h dh)")
        state[f"{ours}.attention.out.bias"] = checkpoint[f"{attention}/out/bias"]

        for linear, layer in [("fc1", "Dense_0"), ("fc2", "Dense_1")]:
            state[f"{ours}.mlp.{linear}.weight"] = checkpoint[f"{theirs}/MlpBlock_3/{layer}/kernel"].T
            state[f"{ours}.mlp.{linear}.bias"] = checkpoint[f"{theirs}/MlpBlock_3/{layer}/bias"]

    state["norm.weight"] = checkpoint["Transformer/encoder_norm/scale"]
    state["norm.bias"] = checkpoint["Transformer/encoder_norm/bias"]
    state["head.weight"] = checkpoint["head/kernel"].T
    state["head.bias"] = checkpoint["head/bias"]
    return state


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
    adapted = {name: tensor.detach().clone() for name, tensor in state.items()}
    positions = adapted["positional_encoding.positions"]            # (1, 1 + gh·gw, D)
    positions = resize_positions(positions, grid, new_grid)         # (1, 1 + gh'·gw', D)
    adapted["positional_encoding.positions"] = positions
    head = adapted["head.weight"]                                   # (old K, D)
    adapted["head.weight"] = head.new_zeros(n_classes, head.shape[1])               # (K, D)
    adapted["head.bias"] = head.new_zeros(n_classes)                # (K)
    return adapted


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
    n_layers = len(model.blocks)
    groups = {}
    for name, parameter in model.named_parameters():
        part, *rest = name.split(".")
        if part in ("head", "norm"):
            depth = 0
        elif part == "blocks":
            depth = n_layers - int(rest[0])
        else:
            depth = n_layers + 1
        decays = parameter.ndim > 1 and part != "positional_encoding"
        if (depth, decays) not in groups:
            groups[depth, decays] = {
                "params": [],
                "lr": lr * layer_decay**depth,
                "weight_decay": weight_decay if decays else 0.0,
            }
        groups[depth, decays]["params"].append(parameter)
    return list(groups.values())


# Exercise 7.4


def mixup(
    images: Float[Tensor, "B C H W"], labels: Int[Tensor, "B"], n_classes: int, lam: float, order: Int[Tensor, "B"]
) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B K"]]:
    """Mix every image with another one of the batch, λ to 1 - λ, and its one-hot label likewise.

    order is a permutation of the batch: image i is mixed with image order[i]. Targets are in the images' dtype.

    (B, C, H, W), (B) -> images (B, C, H, W), targets (B, K)

    Source: Zhang et al. 2018, section 2.
    """
    targets = F.one_hot(labels, n_classes).to(images)               # (B, K)
    images = lam * images + (1 - lam) * images[order]               # (B, C, H, W)
    targets = lam * targets + (1 - lam) * targets[order]            # (B, K)
    return images, targets


def soft_cross_entropy(logits: Float[Tensor, "B K"], targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
    """The mean, over the batch, of -Σ t·log p: cross-entropy for targets that are shared out over classes.

    Finite for logits of ±10,000, in their dtype, and equal to cross_entropy where all of a target is on one class.

    (B, K), (B, K) -> ()

    Not to be called here: nn.CrossEntropyLoss, F.cross_entropy, F.kl_div. log_softmax and one_hot may be.

    Source: Zhang et al. 2018, section 2.
    """
    log_p = logits.log_softmax(dim=-1)                              # (B, K)
    loss = -(targets * log_p).sum(dim=-1)                           # (B)
    return loss.mean()                                              # ()


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
    model.train()
    optimizer.zero_grad()
    total = torch.zeros((), device=images.device)                   # ()
    for start in range(0, len(images), micro_batch):
        part = slice(start, start + micro_batch)
        logits = model(images[part])                                # (micro_batch, K)
        share = len(logits) / len(images)
        loss = share * cross_entropy(logits, labels[part])          # ()
        loss.backward()
        total = total + loss.detach()                               # ()
    optimizer.step()
    return total
