"""The step that a run takes: 5.4's; 7.5's, which goes through a batch in parts; or one on images that 7.4 mixed."""

import torch
from torch import Tensor, nn

from vitcourse.errors import RunError
from vitcourse.training.preparation import Setup
from vitcourse.training.presets import TrainConfig


class InBfloat16(nn.Module):
    """A model whose forward pass runs under autocast, for a step that doesn't ask for it itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits, in float32."""
        with torch.autocast(images.device.type, torch.bfloat16):
            logits: Tensor = self.model(images)
        return logits.float()


def exercise_of_step(config: TrainConfig) -> str:
    """Whose step a run takes."""
    return "7.5" if config.micro_batch else "7.4" if config.mixup else "5.4"


def take_step(
    setup: Setup, model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer
) -> Tensor:
    """The step that the configuration asks for: the loss from before the update, on the device."""
    config, transfer, in_bf16 = setup.config, setup.transfer, setup.config.amp == "bf16"
    if not config.micro_batch and not config.mixup:
        amp_dtype = torch.bfloat16 if in_bf16 else None
        loss: Tensor = setup.chapter.train_step(model, images, labels, optimizer, amp_dtype=amp_dtype)
        return loss
    assert transfer is not None
    model = InBfloat16(model) if in_bf16 else model
    if config.micro_batch:
        loss = transfer.accumulated_step(model, images, labels, optimizer, config.micro_batch)
        return loss
    # From torch's own source of chance, which a checkpoint keeps.
    lam = float(torch.distributions.Beta(config.mixup, config.mixup).sample())
    order = torch.randperm(len(images), device=images.device)
    pair = transfer.mixup(images, labels, len(setup.dataset.classes), lam, order)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise RunError("mixup doesn't return images and targets; to find out why, type vitcourse check 7.4")
    model.train()
    optimizer.zero_grad()
    loss = transfer.soft_cross_entropy(model(pair[0]), pair[1])
    if not isinstance(loss, Tensor) or loss.ndim:
        raise RunError("soft_cross_entropy doesn't return one number; to find out why, type vitcourse check 7.4")
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()
