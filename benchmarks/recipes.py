"""What was tried to find the presets' recipes: each trained on the same images and measured on held-out ones.

Of each kind all recipes are trained once, then the best again with other seeds; what is best on average is trained on
all training images, with three seeds, and measured on the test images, once. Into results/recipes.json.

In the course's folder, type: python benchmarks/recipes.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from shared import RESULTS, keep, trained

from vitcourse.files import read_json
from vitcourse.training.configuration import make_config
from vitcourse.training.measure import accuracy_and_loss
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


def main(device: str = "cuda", kinds: list[str] | None = None, output: Path = RESULTS / "recipes.json") -> None:
    """Try the recipes of each kind (all, or those named), choose, measure the choice; write after each run."""
    known: dict[str, Any] = read_json(output).get("kinds", {})  # what was tried of other kinds stays
    for kind in kinds or KINDS:
        known[kind] = {"preset": KINDS[kind][0], "shared": KINDS[kind][1], "runs": []}
        for run in tried(kind, known[kind], device):
            print(kind, run, flush=True)
            keep("recipes", WHAT, file=output, held_out=HELD_OUT, kinds=known)


def tried(kind: str, found: dict[str, Any], device: str) -> Iterator[dict[str, Any]]:
    """The runs of a kind; they, and what was chosen, go into `found`."""
    runs: list[dict[str, Any]] = found["runs"]

    def each(names: list[str], seeds: range, held_out: int = HELD_OUT) -> Iterator[dict[str, Any]]:
        for seed in seeds:
            for name in names:
                runs.append(measured(kind, name, seed=seed, device=device, held_out=held_out))
                yield runs[-1]

    yield from each(list(KINDS[kind][2]), range(1))
    best = sorted(KINDS[kind][2], key=lambda name: errors(runs, name))[:FINALISTS]
    if len(best) > 1:
        yield from each(best, range(1, FINAL_SEEDS))
    found["chosen"] = min(best, key=lambda name: errors(runs, name))
    yield from each([found["chosen"]], range(FINAL_SEEDS), held_out=0)


def errors(runs: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """A recipe's share of errors on average, and its loss."""
    mine = [run for run in runs if run["recipe"] == name]
    return sum(1 - run["accuracy"] for run in mine) / len(mine), sum(run["loss"] for run in mine) / len(mine)


def measured(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    """A recipe trained to its end, without compilation, and measured once."""
    preset, shared, recipes = KINDS[kind]
    how = {"graph": True, "compile": "off", "kernels": "fused", "threads": 1}
    setup = prepare(make_config(preset, **{**shared, **recipes[name], **how, **settings}))
    run = trained(setup)
    accuracy, loss = accuracy_and_loss(setup, run.kept)
    return {
        "recipe": name,
        "changes": recipes[name],
        "seed": settings["seed"],
        "measured_on": setup.measured_on,
        "accuracy": round(accuracy, 5),
        "loss": round(loss, 5),
        "parameters": sum(parameter.numel() for parameter in run.kept.parameters()),
        "steps": run.steps_done,
        "seconds": round(run.spent[1], 2),
    }


if __name__ == "__main__":
    typer.run(main)
