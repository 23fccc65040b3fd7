"""The way of computing a run takes where that was left open: known before the first step, and the same at each start.

It follows from the device and from the run's length alone, and not from a clock, so that a seed gives the same numbers
again. The rehearsal then measures what was gained, and takes back what makes the steps clearly slower.
"""

from dataclasses import replace
from typing import Any

import torch

from vitcourse.training.presets import TrainConfig

OPEN = ("kernels", "compile")
# Compiling takes from 20 seconds to a minute. On a CPU it makes the twin's small steps shorter by a tenth at most and
# large ones not at all (benchmarks/throughput.py): worth it from half an hour on.
CPU_OPERATIONS = 1e14
# On a GPU it saves launches, which many small steps are made of, and the traffic of large ones. Reckoned, not measured.
GPU_STEPS, GPU_OPERATIONS = 10_000, 1e16


def left_open(config: TrainConfig) -> tuple[str, ...]:
    """The settings that are auto."""
    return tuple(name for name in OPEN if getattr(config, name) == "auto")


def settled(config: TrainConfig, device: torch.device, n_images: int, n_patches: int) -> TrainConfig:
    """The configuration with a way of computing for each that was left open."""
    steps = config.epochs * -(-n_images // config.batch_size)
    operations = config.epochs * n_images * _operations(config, n_patches + 1)
    worth = {
        "cpu": operations >= CPU_OPERATIONS,
        "cuda": steps >= GPU_STEPS or operations >= GPU_OPERATIONS,
    }.get(device.type, False)
    ways: dict[str, Any] = {"kernels": "fused", "compile": "default" if worth else "off"}
    return replace(config, **{name: ways[name] for name in left_open(config)})


def _operations(config: TrainConfig, n_tokens: int) -> float:
    """Floating-point operations of a step for one image: two a weight and token, and attention's; three passes."""
    d_model = config.d_model
    layer = 2 * n_tokens * (4 + 2 * config.mlp_ratio) * d_model**2 + 4 * n_tokens**2 * d_model
    return 3 * config.n_layers * layer
