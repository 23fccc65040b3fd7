"""Seconds to an accuracy on MNIST, other recipes beside ours; into results/time_to_accuracy.json.

The original trains as tutorials do: a DataLoader that transforms image after image, heads in a Python loop, Adam; with
its softmax in front of the loss and without. mnistvit is the recipe of another package. Both for so many seconds at
most. Ours are the presets `mnist` and `mnist-fast`, and `mnist` as its lines say, compiled. All on one machine at the
same time, in turns: whoever is least far along goes next.

In the course's folder, type: python benchmarks/time_to_accuracy.py
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from contenders import MnistVit, mnist_pictures, mnistvit_loader, mnistvit_loop, size_of, tutorial, tutorial_loop
from shared import keep, show
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import PRESETS

TARGETS = (0.93, 0.98, 0.99)
MEASURES = 100  # of the accuracy, evenly over a run
MEASURES_MNISTVIT = 3  # for its 11 million parameters one takes minutes

# The preset mnist made for its first seconds: four large patches, two blocks, no augmentation, nothing to compile. It
# was chosen on held-out training images.
SPRINT: dict[str, Any] = {
    "epochs": 1, "patch_size": 12, "n_layers": 2, "shift": 0, "rotate": 0.0, "stretch": 0.0, "shear": 0.0,
    "learning_rate": 8e-3, "muon_learning_rate": 0.02, "warmup": 0.03, "ema": 0.9, "compile": "off", "kernels": "fused",
}  # fmt: skip


@dataclass
class Contender:
    """A training run that stops wherever it is told to, and the seconds that it has trained for."""

    name: str
    seed: int
    steps: Iterator[Any]
    epochs: int
    steps_per_epoch: int
    accuracy: Callable[[], float]
    most_seconds: float = math.inf
    measures: int = MEASURES
    random_state: Tensor = field(default_factory=torch.get_rng_state)
    done: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    points: list[dict[str, float]] = field(default_factory=list)

    @property
    def share_done(self) -> float:
        """How far along it is, from 0 to 1."""
        return min(1.0, max(self.done / (self.epochs * self.steps_per_epoch), self.cpu_seconds / self.most_seconds))

    def go_on(self) -> None:
        """Train up to the next measure or to the last second, and measure. Only the training is timed."""
        others = torch.get_rng_state()
        torch.set_rng_state(self.random_state)
        goal = min(1.0, self.share_done + 1 / self.measures)
        while self.share_done < goal:
            wall, cpu = time.perf_counter(), time.process_time()
            next(self.steps)
            self.done += 1
            self.wall_seconds += time.perf_counter() - wall
            self.cpu_seconds += time.process_time() - cpu
        self.random_state = torch.get_rng_state()
        self.points.append(
            {
                "epoch": round(self.done / self.steps_per_epoch, 3),
                "wall_seconds": round(self.wall_seconds, 2),
                "cpu_seconds": round(self.cpu_seconds, 2),
                "accuracy": round(self.accuracy(), 4),
            }
        )
        torch.set_rng_state(others)


def ours(name: str, setup: Setup, seed: int) -> Contender:
    """A recipe of this course, in its own loop. The first step holds the compilation, where there is one."""
    run = Run.start(setup.changed(seed=seed))
    accuracy = partial(setup.accuracy, run.kept)
    return Contender(name, seed, run.endless(), setup.config.epochs, len(run.batches), accuracy)


def original(setup: Setup, seed: int, softmax: bool, n_images: int | None, most_seconds: float) -> Contender:
    """The original's recipe, written as a tutorial would; the test images are those of the preset `seed`."""
    from torchvision import transforms

    torch.manual_seed(seed)
    size, config = size_of(setup), setup.config
    model = nn.Sequential(tutorial(size), nn.Softmax(dim=-1)) if softmax else tutorial(size)
    transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    loader = DataLoader(mnist_pictures(transform, n_images), config.batch_size, shuffle=True)
    steps = tutorial_loop(model, loader, torch.optim.Adam(model.parameters(), lr=config.learning_rate))
    name = f"the original, {'softmax in front of the loss' if softmax else 'plain logits'}"
    return Contender(name, seed, steps, config.epochs, len(loader), partial(setup.accuracy, model), most_seconds)


def mnistvit(setup: Setup, seed: int, n_images: int | None, most_seconds: float) -> Contender:
    """The recipe of mnistvit; the setup's images are whole and standardised, as its own are."""
    torch.manual_seed(seed)
    model, loader = MnistVit(), mnistvit_loader(n_images)
    name, steps = "mnistvit 1.5's recipe, 11 million parameters", mnistvit_loop(model, loader)
    accuracy = partial(setup.accuracy, model)
    return Contender(name, seed, steps, model.EPOCHS, len(loader), accuracy, most_seconds, MEASURES_MNISTVIT)


def main(
    seeds: int = 3,
    images: int | None = None,
    epochs: int | None = None,
    most: float = 60.0,
    most_mnistvit: float = 300.0,
    output: Path | None = None,
) -> None:
    """Train all in turns; print and write the medians.

    So many training and test images, and epochs other than the recipes', are for a trial. most are the CPU seconds
    after which the original's runs end.
    """
    contenders = start(seeds, images, epochs, most, most_mnistvit)
    while any(contender.share_done < 1 for contender in contenders):
        contender = min(contenders, key=lambda each: each.share_done)
        contender.go_on()
        print(contender.name, contender.seed, contender.points[-1])
    found = summary(contenders, seeds, trial=bool(images or epochs))
    keep("time_to_accuracy", file=output, **found)
    show([{"contender": row["contender"], **row["to"], "in the end": row["final_accuracy"]} for row in found["rows"]])


def start(seeds: int, images: int | None, epochs: int | None, most: float, most_mnistvit: float) -> list[Contender]:
    """All contenders before their first step. Whoever comes first has its data ready; none is timed for that."""

    def made(preset: str, **changes: Any) -> Setup:
        changes |= {"epochs": epochs} if epochs else {}
        setup = prepare(make_config(preset, device="cpu", **changes))
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(setup, **{name: getattr(setup, name)[:images] for name in names})

    recipes = {
        "preset mnist": made("mnist"),
        "preset mnist, its lines compiled": made("mnist", kernels="own", compile="default"),
        "preset mnist-fast": made("mnist-fast"),
        "a sprint of one epoch": made("mnist", **SPRINT),
    }
    seed_recipe, whole = made("seed"), made("mnist", crop=28, patch_size=7)
    contenders = []
    for seed in range(seeds):
        contenders += [ours(f"this course: {name}", setup, seed) for name, setup in recipes.items()]
        contenders += [original(seed_recipe, seed, softmax, images, most) for softmax in (False, True)]
        contenders.append(mnistvit(whole, seed, images, most_mnistvit))
    return contenders


def summary(contenders: list[Contender], seeds: int, *, trial: bool) -> dict[str, Any]:
    """Seconds to each target, the medians over the seeds; a run that never got there counts as infinitely long."""
    names = list(dict.fromkeys(contender.name for contender in contenders))
    rows = []
    for name in names:
        runs = [contender for contender in contenders if contender.name == name]
        rows.append(
            {
                "contender": name,
                "epochs": runs[0].epochs,
                "to": {f"{target:.0%}": median_to(runs, target) for target in TARGETS},
                "cut_off": any(run.cpu_seconds >= run.most_seconds for run in runs),
                "final_accuracy": statistics.median(run.points[-1]["accuracy"] for run in runs),
                "cpu_seconds": round(statistics.median(run.cpu_seconds for run in runs), 1),
                "wall_seconds": round(statistics.median(run.wall_seconds for run in runs), 1),
                "runs": [{"seed": run.seed, "points": run.points} for run in runs],
            }
        )
    return {
        "what": (
            "seconds of training until the accuracy on the test images first reached a target, medians of "
            f"{seeds} seeds, all runs in turns on one machine on which others worked too (the CPU seconds hardly "
            "feel them). Only training is timed: the steps and the images' way to them, not reading the files from the "
            f"disk, and not the measuring, {MEASURES} times in each run ({MEASURES_MNISTVIT} in mnistvit's). The test "
            "images serve to report, not to choose"
        ),
        "recipes": {
            **{name: repr(PRESETS[name]) for name in ("seed", "mnist", "mnist-fast")},
            "sprint": repr(make_config("mnist", **SPRINT)),
        },
        "trial": trial,
        "rows": rows,
    }


def median_to(runs: list[Contender], target: float) -> dict[str, float] | str:
    """The median seconds to a target, on the clock and of the processor."""
    reached = [next((point for point in run.points if point["accuracy"] >= target), None) for run in runs]

    def median(kind: str) -> float:
        return statistics.median_low(sorted(point[kind] if point else float("inf") for point in reached))

    if median("cpu_seconds") == float("inf"):
        return f"never in {max(run.cpu_seconds for run in runs):.0f} CPU seconds"
    return {"cpu_seconds": median("cpu_seconds"), "wall_seconds": median("wall_seconds")}


if __name__ == "__main__":
    typer.run(main)
