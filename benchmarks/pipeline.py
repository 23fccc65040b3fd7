"""How fast training images come: torch's DataLoader beside gathering by index; into results/pipeline.json.

In the course's folder, type: python benchmarks/pipeline.py
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from torch.utils.data import DataLoader

from benchmarks.contenders import mnist_pictures
from benchmarks.shared import keep
from vitcourse.data import load_dataset
from vitcourse.training.batches import Batches
from vitcourse.training.configuration import make_config
from vitcourse.training.ladder import in_turns
from vitcourse.training.presets import PRESETS

BATCH_SIZE = 100
PIXELS = 2
Pass = Callable[[], Iterable[Any]]


def main(rounds: int = 7, images: int = 3000, workers: int = 2, output: Path | None = None) -> None:
    """Measure passes in turns, a DataLoader's of so many images; print and write the medians."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    passes = {**loaders(images, workers), **gathering()}
    ways = {name: partial(images_per_second, each) for name, each in passes.items()}
    in_turns(ways, 1)
    medians = {name: round(statistics.median(rates)) for name, rates in in_turns(ways, rounds).items()}
    what = (
        f"images a second, float32 in batches of {BATCH_SIZE}, standardised, nothing else done with them; all "
        f"in turns, medians of {rounds} passes ({images:,} images of a DataLoader, else all 60,000) "
        "on the clock, on one thread and one more for each worker. Others' work on the machine, where there is "
        "some, makes the rates lower than on a quiet one; the turns keep the ratios fair"
    )
    print(json.dumps(keep("pipeline", what, file=output, images_per_second=medians)["images_per_second"], indent=2))


def images_per_second(each: Pass) -> float:
    """The rate of one pass, from asking for the first batch to having the last."""
    seen, start = 0, time.perf_counter()
    for images, _ in each():
        seen += len(images)
    return seen / (time.perf_counter() - start)


def loaders(n_images: int, n_workers: int) -> dict[str, Pass]:
    """DataLoaders as tutorials write them, without and with random shifts."""
    from torchvision import transforms

    plain = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    steps = {
        "": plain,
        ", random shifts": [transforms.RandomCrop(28, padding=PIXELS), *plain],
        ", random affine": [transforms.RandomAffine(10, (PIXELS / 28, PIXELS / 28), (0.9, 1.1), 6), *plain],
    }
    found: dict[str, Pass] = {}
    for suffix, transform in steps.items():
        images = mnist_pictures(transforms.Compose(transform), n_images)
        for workers in sorted({0, n_workers}):
            loader: DataLoader[Any] = DataLoader(
                images, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0
            )
            found[f"DataLoader, {workers}{' persistent' * (workers > 0)} workers{suffix}"] = loader.__iter__
    return found


def gathering() -> dict[str, Pass]:
    """The course's batches: all images in one tensor and gathered by index."""
    data, recipe = load_dataset("mnist"), make_config("seed", batch_size=BATCH_SIZE)
    shifts = {"shift": PIXELS}
    affine = {name: getattr(PRESETS["mnist"], name) for name in ("shift", "rotate", "stretch", "shear")}
    changes: dict[str, dict[str, Any]] = {"": {}, ", random shifts": shifts, ", random affine": affine}
    images = (data.train_images, data.train_labels, data.mean, data.std)
    return {
        f"gathered by index{name}": Batches(*images, replace(recipe, **to)).__iter__ for name, to in changes.items()
    }


if __name__ == "__main__":
    typer.run(main)
