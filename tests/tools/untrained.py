"""Models as training leaves them, without training."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solutions.ch05_vit import VisionTransformer
from solutions.ch06_inside import attention_maps
from vitcourse.data import Dataset
from vitcourse.ink import Framing
from vitcourse.training.batches import standardised
from vitcourse.training.configuration import make_config
from vitcourse.training.trained import Trained


def make_trained(dataset: Dataset, config: dict[str, Any], eps: float = 1e-6) -> Trained:
    """A model whose every weight counts: none is 0 or 1, as many are before training."""
    chosen = make_config("digits", **config)
    size = (chosen.crop, chosen.crop) if chosen.crop else dataset.image_size
    torch.manual_seed(3)
    depth_and_width = (chosen.d_model, chosen.n_layers, chosen.n_heads, chosen.mlp_ratio)
    model = VisionTransformer(size, chosen.patch_size, dataset.channels, len(dataset.classes), *depth_and_width)
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        parameter.data = 1 + 0.3 * noise if "norm" in name and name.endswith("weight") else 0.3 * noise
    for module in model.modules():
        if hasattr(module, "eps"):
            module.eps = eps
    framing = Framing.of(dataset.train_images)
    mean, std = dataset.mean, dataset.std
    return Trained(model.eval(), chosen, dataset.classes, mean, std, dataset.image_size, size, framing, None)


@torch.no_grad()
def computed(trained: Trained, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits, each layer's weights of attention (L, B, h, T, T), and the stream before and after each layer."""
    model: Any = trained.model
    inputs = standardised(images, trained.mean, trained.std)
    streams = [model.positional_encoding(model.patch_embedding(inputs))]
    for block in model.blocks:
        streams.append(block(streams[-1]))
    return model(inputs), attention_maps(model, inputs), torch.stack(streams)


def as_npz(model: VisionTransformer) -> dict[str, np.ndarray]:
    """A model of this course in the layout of Google's files, as exercise 7.1 describes it."""
    s, D, H = model.state_dict(), model.norm.weight.numel(), model.blocks[0].attention.n_heads
    out = {
        "cls": s["positional_encoding.cls_token"],
        "Transformer/posembed_input/pos_embedding": s["positional_encoding.positions"],
        "embedding/kernel": s["patch_embedding.projection.weight"].permute(2, 3, 1, 0),
        "embedding/bias": s["patch_embedding.projection.bias"],
        "Transformer/encoder_norm/scale": s["norm.weight"],
        "Transformer/encoder_norm/bias": s["norm.bias"],
        "head/kernel": s["head.weight"].T,
        "head/bias": s["head.bias"],
    }
    for i in range(len(model.blocks)):
        theirs, mine = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        weights, biases = (s[f"{mine}attention.qkv.{p}"].chunk(3) for p in ("weight", "bias"))
        for word, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            out[f"{attention}{word}/kernel"] = weight.T.reshape(D, H, D // H)
            out[f"{attention}{word}/bias"] = bias.reshape(H, D // H)
        out[f"{attention}out/kernel"] = s[f"{mine}attention.out.weight"].T.reshape(H, D // H, D)
        out[f"{attention}out/bias"] = s[f"{mine}attention.out.bias"]
        for k, fc in enumerate(("fc1", "fc2")):
            out[f"{theirs}MlpBlock_3/Dense_{k}/kernel"] = s[f"{mine}mlp.{fc}.weight"].T
            out[f"{theirs}MlpBlock_3/Dense_{k}/bias"] = s[f"{mine}mlp.{fc}.bias"]
        for k, norm in ((0, "norm1"), (2, "norm2")):
            out[f"{theirs}LayerNorm_{k}/scale"] = s[f"{mine}{norm}.weight"]
            out[f"{theirs}LayerNorm_{k}/bias"] = s[f"{mine}{norm}.bias"]
    return {name: tensor.numpy() for name, tensor in out.items()}
