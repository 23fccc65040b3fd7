"""A trained model as one file: its weights, and with them all that is needed to build it again and to feed it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vitcourse.codesets import load_code
from vitcourse.errors import RequestError
from vitcourse.training.presets import TrainConfig

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Trained:
    """A trained model in evaluation mode. It takes images less mean, divided by std; its answers index classes."""

    model: nn.Module
    config: TrainConfig
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor


def weights_file(
    model: nn.Module,
    arguments: dict[str, Any],
    config: TrainConfig,
    classes: tuple[str, ...],
    mean: Tensor,
    std: Tensor,
) -> bytes:
    """The content of a weights file; arguments are those with which the VisionTransformer was made."""
    about = {
        "model": arguments,
        "config": asdict(config),
        "classes": classes,
        "mean": mean.tolist(),
        "std": std.tolist(),
    }
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    return save(tensors, {key: json.dumps(value) for key, value in about.items()})


def load_trained(path: Path, code: str | None = None) -> Trained:
    """Build the model of a run's folder, or of its weights file, on the CPU; with another set of code if one is named.

    Raises RequestError when there are no such weights, or when they don't fit the code's model.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise RequestError(f"there are no weights at {file}")
    try:
        with safe_open(file, framework="pt") as opened:
            about = {key: json.loads(value) for key, value in (opened.metadata() or {}).items()}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        config = TrainConfig(**about["config"])
        arguments, classes, mean, std = (about[key] for key in ("model", "classes", "mean", "std"))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{file} is not a weights file that vitcourse train wrote") from error
    model = load_code(code or config.code).module("ch05_vit").VisionTransformer(**arguments)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RequestError(f"the weights in {file} don't fit the model: {' '.join(str(error).split())}") from error
    return Trained(model.eval(), config, tuple(classes), torch.tensor(mean), torch.tensor(std))
