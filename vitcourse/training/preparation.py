"""What a run starts from: a configuration, a set of code, and the data on the device."""

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.codesets import CodeSet, load_code
from vitcourse.data import Dataset, load_dataset
from vitcourse.errors import RequestError, RunError, in_one_line, misfit
from vitcourse.training.augment import center_crop
from vitcourse.training.batches import EVALUATION_BATCH, Batches, LoadedBatches, standardised
from vitcourse.training.chapters import faults_in_one_line, load_chapters
from vitcourse.training.configuration import require_sizes_that_fit
from vitcourse.training.devices import choose_device, left_open, passed_over, settled
from vitcourse.training.kernels import PARTS, twin_of
from vitcourse.training.origin import Origin, read_origin
from vitcourse.training.presets import TrainConfig
from vitcourse.training.processes import ALONE, Processes


@dataclass(frozen=True, kw_only=True)
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
    processes: Processes
    notes: tuple[str, ...] = ()  # what its owner may want to know before it starts
    transfer: ModuleType | None = None  # chapter 7, where the run asks for it
    origin: Origin | None = None  # the weights that it starts from, if not from chance
    left_open: tuple[str, ...] = ()  # the settings that the course chose
    parts: tuple[str, ...] = PARTS  # what fused kernels may take the place of

    @property
    def measured_on(self) -> str:
        """What the accuracy is measured on, in words."""
        return "held-out images" if self.config.held_out else "test images"

    @property
    def device_name(self) -> str:
        """The device in words, a GPU with its model, and how many of them if there are several."""
        name = self.device.type
        if name == "cuda":
            name = f"cuda ({torch.cuda.get_device_name(self.device)})"
        return f"{self.processes.world_size} × {name}" if self.processes.world_size > 1 else name

    @property
    def records(self) -> bool:
        """Whether the whole step is recorded: on one GPU, on which the batches are made too."""
        wanted = self.config.graph and self.config.pipeline == "device"
        # A share drawn for each batch can't be recorded, and parts of a batch are for what is too large, not for speed.
        wanted = wanted and not self.config.mixup and not self.config.micro_batch and self.config.hardest == 1
        return wanted and self.device.type == "cuda" and self.processes.world_size == 1

    @property
    def data_fingerprint(self) -> str:
        """What tells this training set from another: its labels in their order, and some of its images."""
        seen = hashlib.sha256(f"{tuple(self.train_images.shape)} {self.dataset.classes}".encode())
        seen.update(self.dataset.train_labels.numpy().tobytes())
        seen.update(self.dataset.train_images[:100].numpy().tobytes())
        return seen.hexdigest()

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images that the model reads, in pixels."""
        return (self.config.crop, self.config.crop) if self.config.crop else self.dataset.image_size

    @property
    def model_arguments(self) -> dict[str, Any]:
        """The arguments with which the VisionTransformer is made."""
        names = ("patch_size", "d_model", "n_layers", "n_heads", "mlp_ratio", "positions", "dropout")
        return {
            "image_size": self.image_size,
            "in_channels": self.dataset.channels,
            "n_classes": len(self.dataset.classes),
            **{name: getattr(self.config, name) for name in names},
        }

    def changed(self, **settings: Any) -> "Setup":
        """The same with other settings, of those that decide neither data nor device."""
        return replace(self, config=replace(self.config, **settings))

    def make_model(self) -> nn.Module:
        """A new model, its weights drawn from the seed. Raises RequestError for sizes that don't fit."""
        torch.manual_seed(self.config.seed)
        try:
            model: nn.Module = self.chapter.VisionTransformer(**self.model_arguments)
        except ValueError as error:
            raise RequestError(in_one_line(error)) from error
        if self.origin is not None:
            self._start_from(self.origin, model)
        return model.to(self.device)

    def twin_of(self, model: nn.Module) -> tuple[nn.Module, str]:
        """What computes the same as the model with less work, and how; where its lines are asked for, itself."""
        if self.config.kernels == "own":
            return model, ""
        return twin_of(model, self.test_images, self.config.n_heads, self.config.dropout, self.parts)

    def _start_from(self, origin: Origin, model: nn.Module) -> None:
        (height, width), patch_size = self.image_size, self.config.patch_size
        assert self.transfer is not None
        state = self.transfer.adapt_state_dict(
            dict(origin.state), origin.grid, (height // patch_size, width // patch_size), len(self.dataset.classes)
        )
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise RunError(
                f"what adapt_state_dict returns doesn't fit the model: {misfit(error)}; to find out why, type "
                "vitcourse check 7.2"
            ) from error

    def batches(self) -> Batches:
        """The training images, in the seed's order."""
        kind = Batches if self.config.pipeline == "device" else LoadedBatches
        return kind(self.train_images, self.train_labels, self.mean, self.std, self.config, self.processes)

    def as_input(self, images: Tensor) -> Tensor:
        """Images of the data set as the model reads them: cut, standardised, on the device."""
        return standardised(center_crop(images, self.config.crop).to(self.device), self.mean, self.std)

    @property
    def evaluation_batch(self) -> int:
        """Images at once where nothing is kept for a backward pass: on a GPU more, since there each start costs."""
        return max(EVALUATION_BATCH, 4 * self.config.batch_size if self.device.type == "cuda" else 0)

    def accuracy(self, model: nn.Module, exactly: bool = True) -> float:
        """The share of the test images that a model gets right.

        On a GPU in the precision of the training; exactly, in float32, as whoever uses the model will.
        """
        before = torch.get_float32_matmul_precision()
        in_bf16 = self.device.type == "cuda" and self.config.amp == "bf16" and not exactly
        torch.set_float32_matmul_precision("highest" if exactly else before)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
                batch = self.evaluation_batch
                return float(self.chapter.evaluate(model, self.test_images, self.test_labels, batch))
        finally:
            torch.set_float32_matmul_precision(before)


def prepare(config: TrainConfig, processes: Processes = ALONE, *, resumed: bool = False) -> Setup:
    """Load code and data, and choose the device. Raises RequestError for what isn't there.

    A run that is resumed has its weights from its checkpoint, and none are read that it started from.
    """
    code = load_code(config.code)
    chapter, transfer = load_chapters(code, config)
    device = _device(config, processes)
    dataset = load_dataset(config.data, config.image_size)
    if config.held_out:
        dataset = dataset.hold_out(config.held_out)
    require_sizes_that_fit(config, dataset.image_size)
    for alone, asked in (("--micro-batch", config.micro_batch), ("--hardest", config.hardest < 1)):
        if asked and processes.world_size > 1:
            raise RequestError(f"{alone} is for one process, and {processes.world_size} share each batch; leave it out")
    zeros = torch.zeros(dataset.channels)
    scale = (dataset.mean, dataset.std) if config.standardise else (zeros, zeros + 1)
    mean, std = (part.to(device) for part in scale)
    with faults_in_one_line(code):
        origin = None if config.init is None or resumed else read_origin(config, chapter, dataset)
    setup = Setup(
        config=config,
        code=code,
        chapter=chapter,
        transfer=transfer,
        dataset=dataset,
        device=device,
        mean=mean,
        std=std,
        train_images=dataset.train_images.to(device),
        train_labels=dataset.train_labels.to(device),
        test_images=standardised(center_crop(dataset.test_images, config.crop).to(device), mean, std),
        test_labels=dataset.test_labels.to(device),
        processes=processes,
        notes=tuple(_notes(config, device, dataset, origin)),
        origin=origin,
        left_open=left_open(config),
    )
    n_patches = math.prod(setup.image_size) // config.patch_size**2
    return replace(setup, config=settled(config, device, len(setup.train_images), n_patches))


def _device(config: TrainConfig, processes: Processes) -> torch.device:
    """The device, and how torch computes from here on."""
    device = choose_device(config.device, processes)
    if config.threads:
        torch.set_num_threads(config.threads)
    # On a GPU, products of float32 on the units for TF32, whose 10 binary digits are enough to train with.
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    return device


def _notes(config: TrainConfig, device: torch.device, dataset: Dataset, origin: Origin | None) -> Iterator[str]:
    if config.device == "auto":
        yield from passed_over(device)
    yield from dataset.notes
    if config.graph and device.type != "cuda":
        yield f"--graph is for a GPU, and this is {device.type}: no step is recorded"
    processors = os.cpu_count() or config.threads
    if device.type == "cpu" and config.threads > processors:
        yield f"--threads is {config.threads:,}, more than the processors ({processors}): that is slower"
    n_images = len(dataset.train_images)
    if config.batch_size > n_images:
        yield f"all {n_images:,} training images are one batch, since --batch-size is {config.batch_size:,}"
    if origin is not None:
        heads = "" if origin.tells_heads else " (the file doesn't tell; --n-heads sets another number)"
        yield (
            f"starts from {config.init}: patches of {config.patch_size}×{config.patch_size}, d_model {config.d_model}, "
            f"n_layers {config.n_layers}, n_heads {config.n_heads}{heads}; the head starts at 0"
        )
