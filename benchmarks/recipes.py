"""What was tried to find the presets' recipes: each trained on the same images and measured on held-out ones.

Of each kind all recipes are trained once, then the best again with other seeds; what is best on average is trained on
all training images, with three seeds, and measured on the test images, once. Into results/recipes.json.

In the course's folder, type: python benchmarks/recipes.py --device cuda
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
# With higher rates all that was tried fell short of mnist-gpu; results/recipes.json has them.
LONG = {"batch_size": 250, "learning_rate": 3e-3, "muon_learning_rate": 0.007, "warmup": 0.02, "cooldown": 0.5}
LONG |= {"epochs": 60, "elastic": 0.6}
WIDE = {"d_model": 96, "n_layers": 6, "n_heads": 6}
LARGE = {"d_model": 128, "n_layers": 8, "n_heads": 8, "mlp_ratio": 4, "dropout": 0.1}
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, dict[str, Any]]]] = {
    "accuracy": ("mnist-gpu", LONG, {
        "wide": WIDE,
        "no bending": {"elastic": 0.0},
        "bending": {},
        "wide, more bending": {**WIDE, "elastic": 1.0},
        "wide, dropout": {**WIDE, "dropout": 0.1},
        "patches of 3": {"patch_size": 3, "n_layers": 6},
        "wide, whole images": {**WIDE, "crop": 28},
        "wide, averaged": {**WIDE, "ema": 0.999},
    }),
    "large": ("mnist-gpu", LONG, {"large": LARGE}),
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
    """The runs of a kind, one after the other, as far as the time goes; what was chosen goes into `found`."""
    recipes = list(KINDS[kind][2])
    runs: list[dict[str, Any]] = []
    reserve = 0.0
    for name in recipes:
        if runs and time.monotonic() + reserve > end:
            break
        runs.append(trained(kind, name, asked, seed=0, on_test=False))
        # The choice is made again among the best, and measured: that takes about as many runs more.
        reserve = (2 * FINALISTS + FINAL_SEEDS) * statistics.median(run["seconds"] for run in runs)
        yield runs[-1]
    best = sorted({run["recipe"] for run in runs}, key=lambda name: errors(runs, name))
    for seed in (1, 2):
        for name in best[:FINALISTS] if len(best) > 1 else ():
            slowest = max(run["seconds"] for run in runs if run["recipe"] in best[:FINALISTS])
            if time.monotonic() + (1 + FINAL_SEEDS) * slowest > end:
                break
            runs.append(trained(kind, name, asked, seed=seed, on_test=False))
            yield runs[-1]
    most = max(len([run for run in runs if run["recipe"] == name]) for name in best)
    finalists = [name for name in best if len([run for run in runs if run["recipe"] == name]) == most]
    found["chosen"] = min(finalists, key=lambda name: errors(runs, name))
    for seed in range(FINAL_SEEDS):
        if time.monotonic() + runs[-1]["seconds"] < end:
            yield trained(kind, found["chosen"], asked, seed=seed, on_test=True)


def errors(runs: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """A recipe's share of errors on average, and its loss."""
    mine = [run for run in runs if run["recipe"] == name]
    return sum(1 - run["accuracy"] for run in mine) / len(mine), sum(run["loss"] for run in mine) / len(mine)


def trained(kind: str, name: str, asked: argparse.Namespace, *, seed: int, on_test: bool) -> dict[str, Any]:
    """A recipe trained with a seed, without compilation, and measured once, at the end."""
    preset, shared, recipes = KINDS[kind]
    changes = {**shared, **recipes[name], "seed": seed, "device": asked.device}
    changes |= {"compile": "off", "kernels": "fused", "graph": True, "threads": 1}
    changes["amp"] = "bf16" if asked.device == "cuda" else "off"
    if not on_test:
        changes["held_out"] = HELD_OUT
    if asked.small:
        changes["epochs"] = 1
    started = time.perf_counter()
    setup = prepare(make_config(preset, **changes))
    if asked.small:
        setup.__dict__.update(train_images=setup.train_images[:1000], train_labels=setup.train_labels[:1000])
    run = Run.start(setup)
    for _ in range(setup.config.epochs):
        for loss in run.losses():
            run.loss_sum.add_(loss.detach())
    run.seconds = 1.0
    epoch = run.end_epoch(setup.config.epochs)
    return {
        "recipe": name,
        "changes": recipes[name],
        "seed": seed,
        "measured_on": setup.measured_on,
        "accuracy": round(epoch.accuracy, 5),
        "loss": round(epoch.test_loss, 5),
        "parameters": sum(parameter.numel() for parameter in run.kept.parameters()),
        "steps": run.steps_done,
        "seconds": round(time.perf_counter() - started, 2),
    }


if __name__ == "__main__":
    main()
