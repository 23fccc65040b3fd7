"""How the cost of a training step grows with tokens, width and depth: seconds and memory; into results/growth.json.

A forward and a backward pass for each point, on one CPU thread, in a process of its own, whose peak memory the system
tells. The exponents are fitted to the last three points of an axis, and so are those of the theory beside them.

In the course's folder, type: uv sync --group bench, then: python benchmarks/growth.py
It takes about four minutes, and Linux with glibc: it forks, and reads of the memory in /proc.
"""

import ctypes
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import typer
from contenders import RATIO, SIZES, Size, ours, ours_fused, timm
from shared import keep
from torch import nn
from torch.utils.checkpoint import checkpoint

from vitcourse.training.rehearsal import bytes_kept

BASE = replace(SIZES["b"], n_layers=2)
HEAD_WIDTH = 48
# So many tokens in a step, if the images are small: enough to keep the processor at its arithmetic.
TOKENS = 1024
FITTED = 3


def ours_checkpointed(size: Size) -> nn.Module:
    """Our model's faster twin, whose blocks keep their input alone and compute the rest again on the way back."""
    model: Any = ours_fused(size)
    for block in model.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return model


MODELS: dict[str, Callable[[Size], nn.Module]] = {
    "this course, its lines": ours,
    "this course": ours_fused,
    "this course, blocks checkpointed": ours_checkpointed,
    "timm": timm,
}
AXES: dict[str, list[Size]] = {
    "T, P = 16": [replace(BASE, image_size=side, patch_size=16) for side in (32, 64, 96, 128, 160, 192, 224)],
    "T, P = 4": [replace(BASE, image_size=side, patch_size=4) for side in (32, 64, 96, 128, 160, 224)],
    "D": [replace(BASE, d_model=width, n_heads=width // HEAD_WIDTH) for width in (48, 96, 192, 384, 768)],
    "L": [replace(BASE, n_layers=layers) for layers in (1, 2, 4, 8, 16)],
}


def main(points: int = 9, seconds: float = 0.4, output: Path | None = None) -> None:
    """Measure the first points of each axis, so many seconds each; print and write them with their exponents."""
    torch.set_num_threads(1)
    what = (
        "a forward and a backward pass, float32, one thread, dropout 0, for one image, in batches of about "
        f"{TOKENS:,} tokens; CPU seconds, the shortest step; megabytes, the peak of the process during a step, "
        "gradients included, above what it was before; exponents fitted to the last "
        f"{FITTED} points of each axis. Where an axis doesn't say otherwise: {BASE.image_size} pixels, "
        f"P = {BASE.patch_size}, D = {BASE.d_model}, L = {BASE.n_layers}, heads of {HEAD_WIDTH} or "
        f"{BASE.d_model // BASE.n_heads}"
    )
    theory = "seconds by the FLOPs of throughput.json; memory by Korthikanti et al. 2022, equation 1"
    axes: dict[str, Any] = {}
    for axis, sizes in AXES.items():
        axes[axis] = grown(axis, sizes[:points], seconds)
        print(axis, json.dumps(axes[axis], indent=2))
        # After each: what ends a benchmark early must not take with it what was measured.
        keep("growth", what, file=output, theory=theory, axes=axes)


def grown(axis: str, sizes: list[Size], seconds: float) -> dict[str, Any]:
    """All models along one axis, with the exponents, and those of the theory."""
    xs = [along(axis, size) for size in sizes]
    kept = [float(size.n_layers * bytes_kept(size.n_patches + 1, size.d_model, size.n_heads, RATIO)) for size in sizes]
    models = {}
    for name in MODELS:
        points = [point(name, size, seconds) for size in sizes]
        exponents = {key: exponent(xs, [point[key] for point in points]) for key in ("seconds", "megabytes")}
        models[name] = {"points": points, "exponents": exponents}
    theory = {
        "seconds": exponent(xs, [float(size.flops) for size in sizes]),
        "megabytes": exponent(xs, kept),
    }
    return {"x": xs, "models": models, "theory": theory}


def along(axis: str, size: Size) -> int:
    """Where a size stands on an axis."""
    return {"T": size.n_patches + 1, "D": size.d_model, "L": size.n_layers}[axis[0]]


def exponent(xs: list[int], ys: list[float]) -> float:
    """The slope of the last points on paper with logarithmic axes: 2 where twice x costs four times y."""
    x, y = ([math.log(value) for value in values[-FITTED:]] for values in (xs, ys))
    return round(statistics.linear_regression(x, y).slope, 2)


def point(name: str, size: Size, seconds: float) -> dict[str, Any]:
    """What an image costs at one size, measured in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measure, (name, size, seconds))


def measure(name: str, size: Size, seconds: float) -> dict[str, Any]:
    """Steps of one model; the second shows the memory, the shortest the time."""
    torch.manual_seed(0)
    batch_size = max(1, round(TOKENS / (size.n_patches + 1)))
    model = MODELS[name](size).train()
    _step(model, size, batch_size)  # torch's own code and tables are then in memory
    model.zero_grad()
    ctypes.CDLL(None).malloc_trim(0)  # what was free already would not be seen when a step takes it
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is counted from here
    before = status("VmRSS")
    times = [_step(model, size, batch_size)]
    megabytes = status("VmHWM") - before
    while sum(times) < seconds:
        times.append(_step(model, size, batch_size))
    return {"seconds": min(times) / batch_size, "megabytes": megabytes / batch_size, "batch_size": batch_size}


def _step(model: nn.Module, size: Size, batch_size: int) -> float:
    """CPU seconds of a step."""
    images = torch.randn(batch_size, size.channels, size.image_size, size.image_size)
    labels = torch.randint(size.n_classes, (batch_size,))
    model.zero_grad()
    before = time.process_time()
    F.cross_entropy(model(images), labels).backward()
    return time.process_time() - before


def status(entry: str) -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = (line for line in lines if line.startswith(entry))
    return int(found.split()[1]) / 1024


if __name__ == "__main__":
    typer.run(main)
