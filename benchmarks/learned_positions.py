"""Whether learned positions of neighbouring patches come out alike, on the digits; into results/learned_positions.json.

The model of the preset `digits`, with patches of 2 by 2 pixels and learned positions, on images that stay as they are;
several seeds. For each pair of places: the cosine of their two positions.

In the course's folder, type: python benchmarks/learned_positions.py
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.shared import keep, trained
from vitcourse.training.configuration import make_config
from vitcourse.training.preparation import prepare

SEEDS = range(5)
GRID, PATCH = 4, 2
UNCHANGED = dict.fromkeys(("shift", "rotate", "stretch", "shear"), 0.0)
SETTINGS: dict[str, Any] = {"patch_size": PATCH, "epochs": 40, "dropout": 0.1, **UNCHANGED}


def main() -> None:
    """Train, compare the positions, write."""
    runs = [learned(seed) for seed in SEEDS]
    record = keep(
        "learned_positions",
        "cosines of learned positions by the patches' distance on the grid, digits, patches of 2 by 2 pixels",
        grid=GRID,
        distance="steps along rows and columns, added up",
        runs=runs,
        mean_cosine=mean_by_distance(torch.tensor([run["cosines"] for run in runs]).mean(0)),
    )
    print(record["mean_cosine"], [run["accuracy"] for run in runs])


def learned(seed: int) -> dict[str, Any]:
    """One run: the cosines of its positions, (N, N)."""
    setup = prepare(make_config("digits", positions="learned", seed=seed, threads=1, device="cpu", **SETTINGS))
    model = trained(setup).kept
    positions = F.normalize(model.positional_encoding.positions[0, 1:].detach(), dim=-1)
    cosines = positions @ positions.T
    return {
        "seed": seed,
        "accuracy": round(float(setup.accuracy(model)), 4),
        "cosines": [[round(float(value), 3) for value in row] for row in cosines],
        "by_distance": mean_by_distance(cosines),
    }


def mean_by_distance(table: Tensor) -> dict[str, float]:
    """The mean of a table's entries over all pairs of places of each distance."""
    place = torch.arange(GRID**2)
    place = torch.stack([place // GRID, place % GRID], 1)
    steps = (place[:, None] - place[None]).abs().sum(-1)
    return {str(n): round(float(table[steps == n].mean()), 3) for n in range(1, int(steps.max()) + 1)}


if __name__ == "__main__":
    main()
