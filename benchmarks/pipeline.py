"""How fast training images come: torch's DataLoader beside gathering by index; into results/pipeline.json.

In the course's folder, type: python benchmarks/pipeline.py
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.contenders import mnist_pictures
from benchmarks.shared import keep
from vitcourse.data import load_dataset
from vitcourse.training.augment import random_affine, random_shift
from vitcourse.training.batches import Batches
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
        kinds: dict[str, dict[str, Any]] = {"DataLoader, 0 workers": {}}
        if n_workers:
            anew = {"num_workers": n_workers}
            kinds[f"DataLoader, {n_workers} persistent workers"] = {**anew, "persistent_workers": True}
        if n_workers and not suffix:
            kinds[f"DataLoader, {n_workers} workers, started anew for each pass"] = anew
        for name, options in kinds.items():
            loader: DataLoader[Any] = DataLoader(images, batch_size=BATCH_SIZE, shuffle=True, **options)
            found[name + suffix] = loader.__iter__
    return found


def gathering() -> dict[str, Pass]:
    """All images in one tensor and gathered by index: the course's batches, and shifts as windows of the padded set."""
    data = load_dataset("mnist", None)
    recipe = PRESETS["mnist"]

    def shift(images: Tensor, generator: torch.Generator) -> Tensor:
        return random_shift(images, generator, PIXELS)

    def affine(images: Tensor, generator: torch.Generator) -> Tensor:
        return random_affine(images, generator, recipe.shift, recipe.rotate, recipe.stretch, recipe.shear)

    def batches(*augmentations: Callable[[Tensor, torch.Generator], Tensor]) -> Pass:
        images = (data.train_images, data.train_labels, data.mean, data.std)
        return Batches(*images, batch_size=BATCH_SIZE, augmentations=augmentations).__iter__

    return {
        "gathered by index": batches(),
        "gathered by index, random shifts": batches(shift),
        "gathered by index, random shifts as windows of the padded set": windows(
            data.train_images, data.train_labels, data.mean, data.std
        ),
        "gathered by index, random affine": batches(affine),
    }


def windows(images: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> Pass:
    """The whole set standardised and padded once; a batch is then one gather from a view of all its windows."""
    height, width = images.shape[2:]
    background = float(-(mean / std).mean())
    padded = F.pad((images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1), (PIXELS,) * 4, value=background)
    view = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, C, 2s + 1, 2s + 1, H, W)

    def each() -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(images)).split(BATCH_SIZE):
            down, right = torch.randint(2 * PIXELS + 1, (2, len(index)))
            yield view[index, :, down, right], labels[index]

    return each


if __name__ == "__main__":
    typer.run(main)
