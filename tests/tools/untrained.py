"""A model as training leaves it, without training: what the pages that compute with one are tested with."""

from typing import Any

import torch

from solutions.ch05_vit import VisionTransformer
from vitcourse.data import Dataset
from vitcourse.ink import Framing
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
    return Trained(
        model.eval(), chosen, dataset.classes, mean, std, dataset.image_size, size, chosen.patch_size, framing, None
    )
