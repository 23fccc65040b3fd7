"""Where a run computes, and in which way: which device is there and works, and what is left open settled for it.

The way follows from the device and from the run's length alone, and not from a clock, so that a seed gives the same
numbers again. The rehearsal then measures what was gained, and takes back what makes the steps clearly slower.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from vitcourse.errors import RequestError, first_line
from vitcourse.training.presets import TrainConfig
from vitcourse.training.processes import ALONE, Processes

DEVICES = ("cuda", "mps", "cpu")  # the fastest first

# How torch says that a memory is full: on a GPU, and on the CPU of Linux and macOS, and of Windows.
_NO_MEMORY = ("out of memory", "can't allocate", "not enough memory")
_NO_DEVICE = ("CUDA error", "HIP error")

OPEN = ("kernels", "compile")
# Compiling takes from 20 seconds to a minute. On a CPU it makes the twin's small steps shorter by a tenth at most and
# large ones not at all (benchmarks/throughput.py): worth it from half an hour on.
CPU_OPERATIONS = 1e14
# On a GPU it saves launches, which many small steps are made of, and the traffic of large ones. Reckoned, not measured.
GPU_STEPS, GPU_OPERATIONS = 10_000, 1e16


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """The device of that name, or for auto the fastest one that works; each of several processes has its own GPU.

    Raises RequestError when it isn't there, or when it can't compute.
    """
    if name == "auto":
        name = next(device for device in DEVICES if is_there(device) and cannot_compute(device) is None)
    if not is_there(name):
        raise RequestError(f"there is no {name.upper()} device here; type --device cpu")
    fault = cannot_compute(name)
    if fault is not None:
        raise RequestError(f"{fault}; type --device cpu, or vitcourse doctor")
    if name == "cpu" or processes.world_size == 1:
        return torch.device(name)
    if name == "mps":
        raise RequestError("several processes can't share one MPS device; type --device cpu")
    n_gpus = torch.cuda.device_count()
    if processes.local_rank >= n_gpus:
        raise RequestError(f"there are {n_gpus} GPUs here; type --nproc-per-node={n_gpus}, or --device cpu")
    device = torch.device("cuda", processes.local_rank)
    torch.cuda.set_device(device)
    return device


def is_there(name: str) -> bool:
    """Whether torch sees such a device."""
    if name == "cuda":
        return torch.cuda.is_available()
    return name == "cpu" or torch.backends.mps.is_available()


def cannot_compute(name: str) -> str | None:
    """Why a device that torch sees can't be used: a GPU may be too old for this torch. None when it can."""
    if name == "cpu":
        return None
    try:
        torch.ones(1, device=name).add(1).item()
    except Exception as error:  # RuntimeError, or what a part of torch that is missing raises
        return _too_old(error)
    return None


def passed_over(chosen: torch.device) -> tuple[str, ...]:
    """A line for each faster device that is there and can't be used."""
    faster = DEVICES[: DEVICES.index(chosen.type)]
    faults = [cannot_compute(name) for name in faster if is_there(name)]
    return tuple(f"{fault}; the run goes on on the {chosen.type.upper()}" for fault in faults if fault is not None)


def _too_old(error: Exception) -> str:
    return f"the GPU can't compute with this torch ({first_line(error)})"


@contextmanager
def machine_errors_in_one_line(config: TrainConfig) -> Iterator[None]:
    """Turn what torch says of a full memory, or of a device that fails, into a RequestError of one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            batch = config.batch_size
            smaller = f"--batch-size {batch // 2}, or " if batch > 1 else ""
            raise RequestError(
                f"this model in batches of {batch:,} is too large for the memory here; type {smaller}a smaller "
                "--d-model or --n-layers"
            ) from error
        if str(error).startswith(_NO_DEVICE):
            raise RequestError(f"{_too_old(error)}; type --device cpu, or vitcourse doctor") from error
        raise


def left_open(config: TrainConfig) -> tuple[str, ...]:
    """The settings that are auto."""
    return tuple(name for name in OPEN if getattr(config, name) == "auto")


def settled(config: TrainConfig, device: torch.device, n_images: int, n_patches: int) -> TrainConfig:
    """The configuration with a way of computing for each that was left open."""
    steps = config.epochs * -(-n_images // config.batch_size)
    an_image = operations(n_patches + 1, config.d_model, config.n_layers, config.mlp_ratio)
    in_all = config.epochs * n_images * an_image
    worth = {
        "cpu": in_all >= CPU_OPERATIONS,
        "cuda": steps >= GPU_STEPS or in_all >= GPU_OPERATIONS,
    }.get(device.type, False)
    ways: dict[str, Any] = {"kernels": "fused", "compile": "default" if worth else "off"}
    return replace(config, **{name: ways[name] for name in left_open(config)})


def operations(n_tokens: int, d_model: int, n_layers: int, mlp_ratio: int) -> int:
    """Floating-point operations of all layers, in a step, for one image: three passes, the way back being two.

    Two for each weight and token, and attention's two products.
    """
    return 3 * n_layers * (2 * n_tokens * (4 + 2 * mlp_ratio) * d_model**2 + 4 * n_tokens**2 * d_model)
