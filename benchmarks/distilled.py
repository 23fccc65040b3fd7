"""A ViT taught by convolutional networks; into results/distilled.json.

DeiT's idea (Touvron et al. 2021), as Beyer et al. 2022 (arXiv:2106.05237) carry it out: teacher and student see the
very same changed image, and the student has time. Each image is changed a few times; what the teachers say of each
change is kept, so that no student pays for it again. A student learns from that alone, and never sees a label.

In the course's folder, type: python benchmarks/distilled.py
Each part leaves a file, and what is there isn't made again; so several can be made side by side: name them.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.shared import RESULTS, keep
from vitcourse.codesets import load_code
from vitcourse.data import Dataset, load_dataset
from vitcourse.files import read_json, write_atomically
from vitcourse.training.augment import center_crop, random_affine
from vitcourse.training.batches import standardised
from vitcourse.training.configuration import make_config
from vitcourse.training.graph import RecordedStep
from vitcourse.training.loop import Run
from vitcourse.training.measure import accuracy_and_loss
from vitcourse.training.optim import rate_factor, set_learning_rate
from vitcourse.training.preparation import prepare
from vitcourse.training.presets import PRESETS, TrainConfig

PRESET = PRESETS["mnist-gpu"]
TEMPERATURE = 4.0
TEACHERS_BATCH = 125
VIEWS_A_FILE = 8  # of each image
WHAT = "ViTs that convolutional networks teach; accuracies on the test images, by which nothing was chosen"


@dataclass(frozen=True)
class Recipe:
    """How many there are of each, and how they are trained."""

    teachers: int
    width: int  # of a teacher's first convolutions
    teacher_epochs: int
    view_files: int
    students: int
    student: dict[str, Any]  # what is changed of the preset


# Wider than the preset's model, at a quarter of its rates: at its own a wide one is worse than a narrow one. Of six
# students it was the best on held-out images; results/recipes.json has them, under "taught".
WIDE = {"d_model": 96, "n_layers": 5, "n_heads": 6, "learning_rate": 7.5e-4, "muon_learning_rate": 1.75e-3}
RECIPE = Recipe(2, 24, 12, 2, 3, {**WIDE, "epochs": 42, "threads": 1, "clip": 0.0})


def teacher(width: int) -> nn.Module:
    """Six convolutions of 3 by 3, in pairs, each pair twice as wide as the one before."""
    layers: list[nn.Module] = []
    for before, after in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    layers[-1:] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Work:
    """A recipe, where its parts are made and kept, and the images."""

    recipe: Recipe
    device: str
    files: Path
    mnist: Dataset

    @property
    def images(self) -> Tensor:
        """The training images, on the device."""
        return self.mnist.train_images.to(self.device)

    def chance(self, seed: int) -> torch.Generator:
        """A source of chance on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def changed(self, images: Tensor, chance: torch.Generator) -> Tensor:
        """Whole images, changed as the preset changes them. (B, 1, 28, 28)."""
        p = PRESET
        return random_affine(images, chance, p.shift, p.rotate, p.stretch, p.shear, p.elastic)

    def for_teachers(self, images: Tensor) -> Tensor:
        """Images as a teacher takes them."""
        mean, std = self.mnist.mean.to(images.device), self.mnist.std.to(images.device)
        return standardised(images, mean, std).contiguous(memory_format=torch.channels_last)

    def teacher(self, seed: int) -> dict[str, Any]:
        """Train a teacher on the labels: SGD, one cycle."""
        torch.manual_seed(seed)
        model = teacher(self.recipe.width).to(self.device)
        images, labels, chance = self.images, self.mnist.train_labels.to(self.device), self.chance(seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        steps = math.ceil(len(images) / TEACHERS_BATCH) * self.recipe.teacher_epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.15, total_steps=steps, pct_start=0.15)
        for _ in range(self.recipe.teacher_epochs):
            order = torch.randperm(len(images), generator=chance, device=self.device)
            for index in order.split(TEACHERS_BATCH):
                logits = model(self.for_teachers(self.changed(images[index], chance)))
                optimizer.zero_grad()
                cross_entropy(logits, labels[index]).backward()
                optimizer.step()
                schedule.step()
        torch.save(model.state_dict(), self.files / f"teacher-{seed}.pt")
        return {"parameters": sum(parameter.numel() for parameter in model.parameters()), **self.right([seed])}

    def taught_by(self, seeds: Iterable[int]) -> Callable[[Tensor], Tensor]:
        """What teachers say on average: the logits of images in [0, 1]."""
        models = []
        for seed in seeds:
            models.append(teacher(self.recipe.width).to(self.device))
            models[-1].load_state_dict(torch.load(self.files / f"teacher-{seed}.pt", map_location=self.device))
            models[-1].eval()
        return lambda images: torch.stack([model(self.for_teachers(images)) for model in models]).mean(dim=0)

    @torch.inference_mode()
    def right(self, seeds: Iterable[int]) -> dict[str, float]:
        """The accuracy of teachers, together, on the test images."""
        say = self.taught_by(seeds)
        given = torch.cat(
            [say(images.to(self.device)).argmax(dim=-1).cpu() for images in self.mnist.test_images.split(500)]
        )
        return {"accuracy": round(float((given == self.mnist.test_labels).float().mean()), 5)}

    @torch.inference_mode()
    def views(self, number: int) -> dict[str, Any]:
        """Change each training image VIEWS_A_FILE times; keep the middles, as bytes, and what the teachers say."""
        say, chance = self.taught_by(range(self.recipe.teachers)), self.chance(100 + number)
        views, said = [], []
        for _ in range(VIEWS_A_FILE):
            for images in self.images.split(500):
                view = (self.changed(images, chance) * 255).round()
                views.append(center_crop(view, PRESET.crop).byte().cpu())
                said.append(say(view / 255).half().cpu())
        torch.save((torch.cat(views), torch.cat(said)), self.files / f"views-{number}.pt")
        return self.right(range(self.recipe.teachers))

    def student(self, seed: int) -> dict[str, Any]:
        """Train the preset's ViT on views, by what the teachers said of them, and measure it once."""
        setup = prepare(make_config(PRESET.preset, seed=seed, device=self.device, **self.recipe.student))
        run, config = Run.start(setup), setup.config
        kept = [torch.load(self.files / f"views-{number}.pt") for number in range(self.recipe.view_files)]
        # All images, then all changed in another way, and so on.
        views, said = (torch.cat(parts).to(self.device) for parts in zip(*kept, strict=True))
        soft_cross_entropy = load_code("solutions").module("ch07_transfer").soft_cross_entropy

        def step(place: Tensor) -> Tensor:
            images = standardised(views[place] / 255, setup.mean, setup.std)
            targets = (said[place].float() / TEMPERATURE).softmax(dim=-1)
            loss: Tensor = soft_cross_entropy(run.trained.train()(images) / TEMPERATURE, targets)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            return loss.detach()

        example = torch.empty(config.batch_size, dtype=torch.long, device=setup.device)
        recorded = RecordedStep(step, example, []) if setup.records else step
        for place in self.places(len(setup.train_images), config, seed):
            set_learning_rate(
                run.optimizer, rate_factor(config, run.steps_done, run.steps, setup.chapter.warmup_cosine)
            )
            (recorded if len(place) == config.batch_size else step)(place)
            run.steps_done += 1
        accuracy, loss = accuracy_and_loss(setup, run.kept)
        return {
            "parameters": sum(parameter.numel() for parameter in run.kept.parameters()),
            "accuracy": round(accuracy, 5),
            "loss": loss,
        }

    def places(self, n_images: int, config: TrainConfig, seed: int) -> Iterator[Tensor]:
        """The views of each step: of every image another one in each epoch, until all were seen."""
        chance, n_views = torch.Generator().manual_seed(seed), VIEWS_A_FILE * self.recipe.view_files
        for epoch in range(config.epochs):
            if epoch % n_views == 0:
                turns = torch.stack([torch.randperm(n_views, generator=chance) for _ in range(n_images)], dim=1)
            order = torch.randperm(n_images, generator=chance)
            places = turns[epoch % n_views, order] * n_images + order
            yield from places.to(self.device).split(config.batch_size)


def main(
    parts: Annotated[list[str] | None, typer.Argument()] = None,
    device: str = "cpu",
    files: Path = Path("runs/distilled"),
    output: Path = RESULTS / "distilled.json",
) -> None:
    """Make the parts that are named, or all; what is there already is kept."""
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise typer.BadParameter(f"there is no {device} here to train on; leave out --device")
    torch.set_num_threads(1)
    work = Work(RECIPE, device, files, load_dataset("mnist"))
    counts = {"teacher": work.recipe.teachers, "views": work.recipe.view_files, "student": work.recipe.students}
    # In the order in which they are made: each needs the files of those before it.
    every = {f"{kind}-{n}": partial(getattr(work, kind), n) for kind, count in counts.items() for n in range(count)}
    if unknown := set(parts or ()) - set(every):
        raise typer.BadParameter(f"there is no part {min(unknown)}; there are {', '.join(every)}")
    files.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, make in every.items():
        figures = files / f"{name}.json"
        if not figures.exists() and name in (parts or every):
            start = time.process_time(), time.perf_counter()
            found = make()
            cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
            write_atomically(figures, json.dumps({**found, "cpu_seconds": round(cpu, 1), "seconds": round(wall, 1)}))
        if figures.exists():
            made[name] = read_json(figures)
    print(json.dumps(made, indent=2))
    if len(made) == len(every):
        keep("distilled", WHAT, file=output, preset=PRESET.preset, **asdict(work.recipe), parts=made)


if __name__ == "__main__":
    typer.run(main)
