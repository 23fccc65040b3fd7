"""What a run starts from: a configuration, a set of code, and the data on the device."""

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.codesets import CodeSet, load_code
from vitcourse.data import Dataset, load_dataset
from vitcourse.errors import RequestError
from vitcourse.training.augment import augmentations, center_crop
from vitcourse.training.batches import Batches, standardised
from vitcourse.training.learner import load_trainer
from vitcourse.training.presets import TrainConfig

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Setup:
    """What a run starts from. Images and labels are on the device; the test images are standardised."""

    config: TrainConfig
    code: CodeSet
    chapter: ModuleType
    dataset: Dataset
    device: torch.device
    mean: Tensor
    std: Tensor
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    @property
    def measured_on(self) -> str:
        """What the accuracy is measured on, in words."""
        return "held-out images" if self.config.held_out else "test images"

    @property
    def device_name(self) -> str:
        """The device in words, a GPU with its model."""
        if self.device.type == "cuda":
            return f"cuda ({torch.cuda.get_device_name(self.device)})"
        return self.device.type

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images that the model reads, in pixels."""
        return (self.config.crop, self.config.crop) if self.config.crop else self.dataset.image_size

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The arguments with which the VisionTransformer is made."""
        config = self.config
        return {
            "image_size": self.image_size,
            "patch_size": config.patch_size,
            "in_channels": self.dataset.channels,
            "n_classes": len(self.dataset.classes),
            "d_model": config.d_model,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "mlp_ratio": config.mlp_ratio,
            "positions": config.positions,
            "dropout": config.dropout,
        }

    def make_model(self) -> nn.Module:
        """A new model, its weights drawn from the seed. Raises RequestError for sizes that don't fit."""
        self._require_sizes_that_fit()
        torch.manual_seed(self.config.seed)
        try:
            model: nn.Module = self.chapter.VisionTransformer(**self.model_arguments)
        except ValueError as error:
            raise RequestError(" ".join(str(error).split())) from error
        return model.to(self.device)

    def _require_sizes_that_fit(self) -> None:
        (height, width), config = self.image_size, self.config
        side = math.gcd(height, width)
        if side % config.patch_size:
            raise RequestError(
                f"images of {height}×{width} pixels can't be cut into patches of {config.patch_size}×"
                f"{config.patch_size}; type --patch-size with one of: {_divisors(side)}"
            )
        if config.d_model % config.n_heads:
            raise RequestError(
                f"a width of --d-model {config.d_model} can't be shared by {config.n_heads} heads; "
                f"type --n-heads with one of: {_divisors(config.d_model)}"
            )

    def batches(self) -> Batches:
        """The training images, in the seed's order."""
        return Batches(
            self.train_images,
            self.train_labels,
            self.mean,
            self.std,
            self.config.batch_size,
            augmentations(self.config),
            self.config.seed,
            self.config.crop,
        )

    def accuracy(self, model: nn.Module) -> float:
        """The share of the test images that a model gets right."""
        return float(self.chapter.evaluate(model, self.test_images, self.test_labels, EVALUATION_BATCH))


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)


def prepare(config: TrainConfig) -> Setup:
    """Load code and data, and choose the device. Raises RequestError for what isn't there."""
    code = load_code(config.code)
    chapter = load_trainer(code)
    device = choose_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    dataset = load_dataset(config.data, config.image_size)
    if config.held_out:
        dataset = dataset.hold_out(config.held_out)
    if config.crop and config.crop > min(dataset.image_size):
        height, width = dataset.image_size
        raise RequestError(f"--crop {config.crop} is more than the images have: {height}×{width} pixels")
    if config.standardise:
        mean, std = dataset.mean.to(device), dataset.std.to(device)
    else:
        mean = torch.zeros(dataset.channels, device=device)
        std = torch.ones(dataset.channels, device=device)
    return Setup(
        config,
        code,
        chapter,
        dataset,
        device,
        mean,
        std,
        dataset.train_images.to(device),
        dataset.train_labels.to(device),
        standardised(center_crop(dataset.test_images, config.crop).to(device), mean, std),
        dataset.test_labels.to(device),
    )


def choose_device(name: str) -> torch.device:
    """The device of that name, or for auto the fastest one that is there. Raises RequestError when it isn't there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, is_there in available.items() if is_there)
    if not available[name]:
        raise RequestError(f"there is no {name.upper()} device here; type --device cpu")
    return torch.device(name)
