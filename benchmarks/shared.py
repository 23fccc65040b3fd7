"""What the benchmarks share: a model trained to its end, and the file that keeps what was measured."""

import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vitcourse.files import write_atomically
from vitcourse.training.loop import Run
from vitcourse.training.preparation import Setup
from vitcourse.training.presets import TrainConfig
from vitcourse.training.runs import Result, RunFolder, provenance
from vitcourse.training.train import train

RESULTS = Path(__file__).parent / "results"
PEERS = ("timm", "transformers", "vit-pytorch")
Accuracy = Callable[[float, int, bool], float]  # at a learning rate, of a seed; held out or on the test images


def keep(name: str, what: str, *, file: Path | None = None, **figures: Any) -> dict[str, Any]:
    """Write results/NAME.json, or another file: what the figures are, the figures, and where they come from.

    The versions of other people's models are those of the ones that were loaded.
    """
    origin = provenance(f"python benchmarks/{name}.py {shlex.join(sys.argv[1:])}".strip())
    loaded = [peer for peer in PEERS if peer.replace("-", "_") in sys.modules]
    origin["versions"] |= {peer: metadata.version(peer) for peer in loaded}
    if torch.cuda.is_available():
        origin["machine"]["gpu"] = torch.cuda.get_device_name()
    record = {"what": what, **figures, "provenance": origin}
    write_atomically(file or RESULTS / f"{name}.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return record


def show(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Print records as a table."""
    table = Table(*dict.fromkeys(key for row in rows for key in row), title=title)
    for row in rows:
        table.add_row(*(str(row.get(str(column.header), "")) for column in table.columns))
    Console(highlight=False).print(table)


def cpu_seconds() -> float:
    """Processor time of this process and of those that it started, such as a compiler."""
    return round(sum(os.times()[:4]), 1)


def tuned(rates: Sequence[float], tuning_seed: int, seeds: Sequence[int], accuracy: Accuracy) -> dict[str, Any]:
    """The accuracy of each seed at the rate that did best, with another seed, on images that nobody learned from."""
    by_rate = {rate: accuracy(rate, tuning_seed, True) for rate in rates}
    rate = max(by_rate, key=by_rate.__getitem__)
    accuracies = [round(accuracy(rate, seed, False), 4) for seed in seeds]
    found = {"learning_rate": rate, "mean": round(statistics.mean(accuracies), 4), "accuracies": accuracies}
    print(by_rate, found, file=sys.stderr, flush=True)
    return found


def results_of(config: TrainConfig) -> dict[str, Result]:
    """What a whole run leaves, as `vitcourse train` makes it, files and pictures included; its folder goes."""
    with tempfile.TemporaryDirectory() as folder:
        return train(config, RunFolder(Path(folder) / "run"), Console(quiet=True))


def trained(setup: Setup) -> Run:
    """A run of this setup, taken to its end."""
    run = Run.start(setup)
    for _ in islice(run.endless(), run.steps):
        pass
    return run
