"""The step that a run takes: 5.4's; 7.5's, which goes through a batch in parts; or one on images that 7.4 mixed."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.errors import RunError
from vitcourse.training.presets import TrainConfig

AMP_DTYPES = {"off": None, "bf16": torch.bfloat16}

Step = Callable[[nn.Module, Tensor, Tensor, torch.optim.Optimizer], Tensor]


class InPrecision(nn.Module):
    """A model whose forward pass runs under autocast, for a step that doesn't ask for it itself."""

    def __init__(self, model: nn.Module, amp_dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.amp_dtype = model, amp_dtype

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits, in float32."""
        with torch.autocast(images.device.type, self.amp_dtype):
            logits: Tensor = self.model(images)
        return logits.float()


def exercise_of_step(config: TrainConfig) -> str:
    """Whose step a run takes."""
    return "7.5" if config.micro_batch else "7.4" if config.mixup else "5.4"


def step_of(config: TrainConfig, chapter: ModuleType, transfer: Any, n_classes: int) -> Step:
    """The step that the configuration asks for: the loss from before the update, on the device."""
    amp_dtype = AMP_DTYPES[config.amp]

    def plain(model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        loss: Tensor = chapter.train_step(model, images, labels, optimizer, amp_dtype=amp_dtype)
        return loss

    def in_parts(model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        model = InPrecision(model, amp_dtype) if amp_dtype else model
        loss: Tensor = transfer.accumulated_step(model, images, labels, optimizer, config.micro_batch)
        return loss

    def mixed(model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        # From torch's own source of chance, which a checkpoint keeps.
        lam = float(torch.distributions.Beta(config.mixup, config.mixup).sample())
        order = torch.randperm(len(images), device=images.device)
        pair = transfer.mixup(images, labels, n_classes, lam, order)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise RunError("mixup doesn't return images and targets; to find out why, type vitcourse check 7.4")
        model.train()
        optimizer.zero_grad()
        with torch.autocast(images.device.type, amp_dtype, enabled=amp_dtype is not None):
            loss = transfer.soft_cross_entropy(model(pair[0]), pair[1])
        if not isinstance(loss, Tensor) or loss.ndim:
            raise RunError("soft_cross_entropy doesn't return one number; type vitcourse check 7.4")
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return in_parts if config.micro_batch else mixed if config.mixup else plain
