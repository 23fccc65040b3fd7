"""What was tried to find the presets' recipes: each trained on the same images and measured on held-out ones.

Of each kind all recipes are trained once, then the best again with other seeds; what is best on average is trained on
all training images, with three seeds, and measured on the test images, once. Into results/recipes.json.

In the course's folder, type: python benchmarks/recipes.py
--at-once 8 trains eight side by side on a GPU, each on its own stream.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import typer
from shared import RESULTS, keep

from vitcourse.files import read_json
from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run
from vitcourse.training.preparation import prepare

HELD_OUT = 5000
FINALISTS, FINAL_SEEDS = 3, 3
WHAT = "recipes tried for the presets, each on held-out training images; the best of a kind once on the test images"

# Of a preset: what all recipes of its kind change, and then each.
# With larger batches and higher rates all that was tried fell short of mnist-gpu; results/recipes.json has them.
LONG = {"elastic": 0.6, "ema": 0.0}
WIDE = {"d_model": 96, "n_layers": 5, "n_heads": 6}
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]]]] = {
    "accuracy": ("mnist-gpu", LONG, {
        "as it was": {"elastic": 0.0},
        "bending": {},
        "more bending": {"elastic": 1.0},
        "averaged": {"ema": 0.999},
        "6 layers": {"n_layers": 6},
        "wide": WIDE,
        "patches of 3": {"patch_size": 3},
        "wide, more bending": {**WIDE, "elastic": 1.0},
        "wide, long cooldown": {**WIDE, "cooldown": 0.6},
        "wide, low rates": {**WIDE, "learning_rate": 2e-3, "muon_learning_rate": 0.005},
        "wide, weaker turns": {**WIDE, "rotate": 8.0, "stretch": 0.08, "shear": 0.1},
        "wide, whole images": {**WIDE, "crop": 28},
        "wide, batches of 200": {**WIDE, "batch_size": 200, "learning_rate": 4e-3, "muon_learning_rate": 0.01},
        "wide, patches of 3": {**WIDE, "patch_size": 3},
        "patches of 3, 6 layers": {"patch_size": 3, "n_layers": 6},
        "twice as long": {"epochs": 108},
    }),
    "long": ("mnist-gpu", {}, {"100 epochs": {"epochs": 100}}),
}  # fmt: skip


def main(
    device: str = "cuda",
    kinds: list[str] | None = None,
    at_once: int = 1,
    small: bool = False,
    output: Path = RESULTS / "recipes.json",
) -> None:
    """Try the recipes of each kind (all, or those named), choose, measure the choice; write after each run.

    small is an epoch of 1,000 images each, to see that it runs.
    """
    if small and output.parent.resolve() == RESULTS.resolve():
        raise typer.BadParameter("--small shows nothing that should stand among the results; type --output FILE too")
    known: dict[str, Any] = read_json(output).get("kinds", {})  # what was tried of other kinds stays
    for kind in kinds or KINDS:
        known[kind] = {"preset": KINDS[kind][0], "shared": KINDS[kind][1], "runs": []}
        for run in tried(kind, known[kind], at_once, device, small):
            print(kind, run, flush=True)
            keep("recipes", WHAT, file=output, held_out=HELD_OUT, kinds=known)


def tried(kind: str, found: dict[str, Any], at_once: int, device: str, small: bool) -> Iterator[dict[str, Any]]:
    """The runs of a kind; they, and what was chosen, go into `found`."""
    runs: list[dict[str, Any]] = found["runs"]

    def side_by_side(pairs: list[tuple[str, int]], held_out: int = HELD_OUT) -> Iterator[dict[str, Any]]:
        for first in range(0, len(pairs), at_once):
            some = pairs[first : first + at_once]
            done = trained([(name, prepared(kind, name, seed, device, small, held_out)) for name, seed in some])
            runs.extend({**run, "changes": KINDS[kind][2][run["recipe"]]} for run in done)
            yield from done

    yield from side_by_side([(name, 0) for name in KINDS[kind][2]])
    best = sorted(KINDS[kind][2], key=lambda name: errors(runs, name))[:FINALISTS]
    if len(best) > 1:
        yield from side_by_side([(name, seed) for seed in range(1, FINAL_SEEDS) for name in best])
    found["chosen"] = min(best, key=lambda name: errors(runs, name))
    yield from side_by_side([(found["chosen"], seed) for seed in range(FINAL_SEEDS)], held_out=0)


def errors(runs: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """A recipe's share of errors on average, and its loss."""
    mine = [run for run in runs if run["recipe"] == name]
    return sum(1 - run["accuracy"] for run in mine) / len(mine), sum(run["loss"] for run in mine) / len(mine)


def trained(named: Sequence[tuple[str, Run]]) -> list[dict[str, Any]]:
    """Recipes trained side by side, and each measured once, at the end.

    A small model's kernels leave most of a GPU idle: recorded steps on streams of their own share it.
    """
    started = time.perf_counter()
    on_gpu = named[0][1].setup.device.type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    wait()
    streams = [torch.cuda.Stream() if on_gpu else None for _ in named]  # type: ignore[no-untyped-call]
    left = {place: islice(run.endless(), run.steps) for place, (_, run) in enumerate(named)}
    while left:
        for place, steps in list(left.items()):
            with torch.cuda.stream(streams[place]):
                loss = next(steps, None)
                if loss is None:
                    del left[place]
                else:
                    named[place][1].loss_sum.add_(loss.detach())
    wait()
    found = []
    for name, run in named:
        run.seconds = 1.0
        epoch = run.end_epoch(run.setup.config.epochs)
        found.append({
            "recipe": name,
            "seed": run.setup.config.seed,
            "measured_on": run.setup.measured_on,
            "accuracy": round(epoch.accuracy, 5),
            "loss": round(epoch.test_loss, 5),
            "parameters": sum(parameter.numel() for parameter in run.kept.parameters()),
            "steps": run.steps_done,
            "side_by_side": len(named),
            "seconds": round(time.perf_counter() - started, 2),
        })  # fmt: skip
    return found


def prepared(kind: str, name: str, seed: int, device: str, small: bool, held_out: int) -> Run:
    """A recipe's run before its first step, without compilation."""
    preset, shared, recipes = KINDS[kind]
    changes = {**shared, **recipes[name], "seed": seed, "device": device, "held_out": held_out, "graph": True}
    changes |= {"compile": "off", "kernels": "fused", "threads": 1, **({"epochs": 1} if small else {})}
    setup = prepare(make_config(preset, **changes))
    if small:
        setup.__dict__.update(train_images=setup.train_images[:1000], train_labels=setup.train_labels[:1000])
    return Run.start(setup)


if __name__ == "__main__":
    typer.run(main)
