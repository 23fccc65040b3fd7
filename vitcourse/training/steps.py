"""The step that a run takes, and what is put around a model for it: precision, compilation, all processes' gradients.

It is 5.4's step; 7.5's, which goes through a batch in parts; or one on images that 7.4 mixed.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.futures import Future

from vitcourse.course import exercise
from vitcourse.errors import RunError
from vitcourse.training.batches import Batches
from vitcourse.training.preparation import Setup


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


def take_step(
    setup: Setup, model: nn.Module, images: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer
) -> Tensor:
    """The step that the configuration asks for: the loss from before the update, on the device.

    Raises RunError when an answer gives back something else than it should.
    """
    config, transfer, in_bf16 = setup.config, setup.transfer, setup.config.amp == "bf16"
    if not config.micro_batch and not config.mixup:
        amp_dtype = torch.bfloat16 if in_bf16 else None
        return _a_number("5.4", setup.chapter.train_step(model, images, labels, optimizer, amp_dtype=amp_dtype))
    assert transfer is not None
    model = InBfloat16(model) if in_bf16 else model
    if config.micro_batch:
        return _a_number("7.5", transfer.accumulated_step(model, images, labels, optimizer, config.micro_batch))
    # From torch's own source of chance, which a checkpoint keeps.
    lam = float(torch.distributions.Beta(config.mixup, config.mixup).sample())
    order = torch.randperm(len(images), device=images.device)
    pair = transfer.mixup(images, labels, len(setup.dataset.classes), lam, order)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise RunError("mixup doesn't return images and targets; to find out why, type vitcourse check 7.4")
    model.train()
    optimizer.zero_grad()
    loss = _a_number("7.4", transfer.soft_cross_entropy(model(pair[0]), pair[1]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def _a_number(asked: str, loss: object) -> Tensor:
    """The loss that an exercise's last function gave back."""
    if not isinstance(loss, Tensor) or loss.ndim:
        name = exercise(asked).names[-1]
        raise RunError(f"{name} returns no tensor without axes; to find out why, type vitcourse check {asked}")
    return loss


def wrapped(model: nn.Module, setup: Setup, batches: Batches) -> nn.Module:
    """The model as it goes into train_step. Its parameters are the given model's own."""
    if setup.processes.world_size > 1:
        model = _with_all_gradients(model, setup, batches)
    mode = setup.config.compile
    if mode != "off":
        # Graphs of the model alone can't be recorded within the graph of the step.
        mode = "default" if setup.records else mode
        model = compiled(model, mode, setup.device, in_float32=setup.config.amp == "off")
    return model


def compiled(model: nn.Module, mode: str, device: torch.device, *, in_float32: bool) -> nn.Module:
    """The model compiled for batches of one size, or of a second for the last one of a pass."""
    how: dict[str, Any] = {"mode": mode}
    if device.type == "cpu" or (in_float32 and mode == "default"):
        # The compiler would put fused attention in the place of 3.1, which is slower for a few tokens in float32: the
        # kernels of a step of mnist-gpu-fast take 2.2 ms with it on an H200, and 1.8 ms without.
        how = {"options": {"pattern_matcher": False}}
    found: nn.Module = torch.compile(model, dynamic=False, **how)  # type: ignore[assignment]
    return found


def _with_all_gradients(model: nn.Module, setup: Setup, batches: Batches) -> nn.Module:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    devices = [setup.device] if setup.device.type == "cuda" else None
    with warnings.catch_warnings():
        # Newer versions of torch have another word for it, older ones don't know that word.
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        # The buffers are constants; there is nothing in them to tell the others.
        together = DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def weighted_sum(_: object, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]
        # Each gradient is the mean over a process's own images. Weighted by their number it gives the mean over all,
        # also where the shares of a batch aren't equal.
        gradients = bucket.buffer().mul_(batches.n_local / batches.n_global)
        future: Future[Tensor] = dist.all_reduce(gradients, async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    together.register_comm_hook(None, weighted_sum)
    return together
