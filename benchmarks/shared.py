"""What the benchmarks share: a model trained to its end, and the file that keeps what was measured."""

import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from vitcourse.training.loop import Run
from vitcourse.training.preparation import Setup
from vitcourse.training.runs import provenance, write_atomically

RESULTS = Path(__file__).parent / "results"


def keep(
    name: str, what: str, *words: object, start: str = "python", file: Path | None = None, **figures: Any
) -> dict[str, Any]:
    """Write results/NAME.json, or another file: what the figures are, the figures, and where they come from.

    start is what runs the script, words what follows its name on the command line.
    """
    command = " ".join([start, f"benchmarks/{name}.py", *map(str, words)])
    record = {"what": what, **figures, "provenance": provenance(command)}
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_atomically(file or RESULTS / f"{name}.json", text.encode())
    return record


def cpu_seconds() -> float:
    """Processor time of this process and of those that it started, such as a compiler."""
    return round(sum(os.times()[:4]), 1)


def trained(setup: Setup) -> nn.Module:
    """The model that a run of this setup ends with, in evaluation mode."""
    run = Run.start(setup)
    for _ in range(setup.config.epochs):
        for images, labels in run.batches:
            run.step(images, labels)
    return run.kept.eval()
