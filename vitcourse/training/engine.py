"""What is put around a model for its training: the gradients of all processes as one, and compilation."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.futures import Future

from vitcourse.training.batches import Batches
from vitcourse.training.preparation import Setup


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


def compiled(model: nn.Module, mode: str, device: torch.device, *, in_float32: bool = True) -> nn.Module:
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
