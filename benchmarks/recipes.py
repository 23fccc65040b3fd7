"""What was tried to find the presets' recipes: each trained on the same images and measured on held-out ones.

Of each kind all recipes are trained once, then the best again with other seeds; what is best on average is trained on
all training images, with three seeds, and measured on the test images, once. Into results/recipes.json.

In the course's folder, type: python benchmarks/recipes.py --device cuda
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from shared import RESULTS, keep

from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run
from vitcourse.training.preparation import prepare

HELD_OUT = 5000
FINALISTS, FINAL_SEEDS = 3, 3
WHAT = "recipes tried for the presets, each on held-out training images; the best of a kind once on the test images"

# Of a preset: what all recipes of its kind change, and then each.
SHORT = {"crop": 24, "n_layers": 3, "mlp_ratio": 2, "batch_size": 100, "schedule": "trapezoid", "warmup": 0.05}
SHORT |= {"cooldown": 0.7, "shift": 1, "rotate": 8.0, "stretch": 0.08, "shear": 0.08}
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
    "speed": ("mnist", SHORT, {
        f"{name}, {rates}": {**sizes, "learning_rate": rate, "muon_learning_rate": muon}
        for name, sizes in {
            "4 epochs": {"epochs": 4},
            "2 layers": {"epochs": 7, "n_layers": 2},
            "wide, 2 layers": {"epochs": 3, "n_layers": 2, "d_model": 96},
            "patches of 6, 2 layers": {"epochs": 4, "n_layers": 2, "patch_size": 6},
            "patches of 6, narrow": {"epochs": 4, "d_model": 48, "patch_size": 6},
            "weak changes": {"epochs": 4, "rotate": 5.0, "stretch": 0.05, "shear": 0.05},
            "batches of 200": {"epochs": 4, "batch_size": 200},
            "bending": {"epochs": 4, "elastic": 0.6},
        }.items()
        for rates, rate, muon in (("low rates", 3e-3, 0.008), ("usual rates", 4e-3, 0.015))
    }),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Try the recipes of each kind, choose, measure the choice; write after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seconds", type=float, nargs="+", default=[1e9], help="for each kind")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side on a GPU, each on its own stream")
    parser.add_argument("--small", action="store_true", help="an epoch of 1,000 images each, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "recipes.json")
    asked = parser.parse_args(arguments)
    if asked.small and asked.output.parent.resolve() == RESULTS.resolve():
        parser.error("--small shows nothing that should stand among the results; type --output with another folder")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    # What was tried of other kinds stays.
    kinds: dict[str, Any] = json.loads(asked.output.read_text("utf-8"))["kinds"] if asked.output.exists() else {}
    for place, kind in enumerate(asked.kinds):
        end = time.monotonic() + asked.seconds[min(place, len(asked.seconds) - 1)]
        kinds[kind] = {"preset": KINDS[kind][0], "shared": KINDS[kind][1], "runs": []}
        for run in tried(kind, asked, end, kinds[kind]):
            kinds[kind]["runs"].append(run)
            print(kind, json.dumps(run), flush=True)
            keep("recipes", WHAT, file=asked.output, held_out=HELD_OUT, kinds=kinds)


def tried(kind: str, asked: argparse.Namespace, end: float, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The runs of a kind, as far as the time goes; what was chosen goes into `found`."""
    recipes = list(KINDS[kind][2])
    runs: list[dict[str, Any]] = []
    longest = 0.0

    def side_by_side(pairs: list[tuple[str, int]], reserve: int, on_test: bool = False) -> Iterator[dict[str, Any]]:
        nonlocal longest
        for first in range(0, len(pairs), asked.at_once):
            # The choice is measured at the end: that takes about as long.
            if runs and time.monotonic() + (1 + reserve) * longest > end:
                return
            done = trained(kind, pairs[first : first + asked.at_once], asked, on_test)
            longest = max(longest, *(run["seconds"] for run in done))
            runs.extend(done)
            yield from done

    choosing, last = (math.ceil(n / asked.at_once) for n in (FINALISTS * (FINAL_SEEDS - 1), FINAL_SEEDS))
    yield from side_by_side([(name, 0) for name in recipes], choosing + last)
    best = sorted({run["recipe"] for run in runs}, key=lambda name: errors(runs, name))[:FINALISTS]
    if len(best) > 1:
        yield from side_by_side([(name, seed) for seed in range(1, FINAL_SEEDS) for name in best], last)
    most = max(len([run for run in runs if run["recipe"] == name]) for name in best)
    finalists = [name for name in best if len([run for run in runs if run["recipe"] == name]) == most]
    found["chosen"] = min(finalists, key=lambda name: errors(runs, name))
    yield from side_by_side([(found["chosen"], seed) for seed in range(FINAL_SEEDS)], 0, on_test=True)


def errors(runs: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """A recipe's share of errors on average, and its loss."""
    mine = [run for run in runs if run["recipe"] == name]
    return sum(1 - run["accuracy"] for run in mine) / len(mine), sum(run["loss"] for run in mine) / len(mine)


def trained(
    kind: str, pairs: Sequence[tuple[str, int]], asked: argparse.Namespace, on_test: bool
) -> list[dict[str, Any]]:
    """Recipes trained with their seeds, without compilation, side by side, and each measured once, at the end.

    A small model's kernels leave most of a GPU idle: recorded steps on streams of their own share it.
    """
    started = time.perf_counter()
    on_gpu = asked.device == "cuda"
    runs = [prepared(kind, name, seed, asked, on_test) for name, seed in pairs]
    streams = [torch.cuda.Stream() if on_gpu else None for _ in runs]  # type: ignore[no-untyped-call]
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    wait()
    left = {place: islice(run.endless(), run.steps) for place, run in enumerate(runs)}
    while left:
        for place, steps in list(left.items()):
            with torch.cuda.stream(streams[place]):
                loss = next(steps, None)
                if loss is None:
                    del left[place]
                else:
                    runs[place].loss_sum.add_(loss.detach())
    wait()
    found = []
    for run, (name, seed) in zip(runs, pairs, strict=True):
        run.seconds = 1.0
        epoch = run.end_epoch(run.setup.config.epochs)
        found.append({
            "recipe": name,
            "changes": KINDS[kind][2][name],
            "seed": seed,
            "measured_on": run.setup.measured_on,
            "accuracy": round(epoch.accuracy, 5),
            "loss": round(epoch.test_loss, 5),
            "parameters": sum(parameter.numel() for parameter in run.kept.parameters()),
            "steps": run.steps_done,
            "side_by_side": len(runs),
            "seconds": round(time.perf_counter() - started, 2),
        })  # fmt: skip
    return found


def prepared(kind: str, name: str, seed: int, asked: argparse.Namespace, on_test: bool) -> Run:
    """A recipe's run before its first step."""
    preset, shared, recipes = KINDS[kind]
    changes = {**shared, **recipes[name], "seed": seed, "device": asked.device}
    changes |= {"compile": "off", "kernels": "fused", "graph": True, "threads": 1}
    if not on_test:
        changes["held_out"] = HELD_OUT
    if asked.small:
        changes["epochs"] = 1
    setup = prepare(make_config(preset, **changes))
    if asked.small:
        setup.__dict__.update(train_images=setup.train_images[:1000], train_labels=setup.train_labels[:1000])
    return Run.start(setup)


if __name__ == "__main__":
    main()
