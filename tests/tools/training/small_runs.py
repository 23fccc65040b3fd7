"""Small runs: their options, the code that they run, the files that they leave, and how two of them are compared."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.shared import trained as taken_to_its_end
from vitcourse.definitions import definition
from vitcourse.stubs import pristine
from vitcourse.training import preparation
from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run

# By the model's own lines: to look for what is faster takes longer than these runs, and test_choice.py does.
SMALL = [
    "--patch-size=2", "--d-model=12", "--n-heads=2", "--n-layers=1", "--mlp-ratio=2", "--batch-size=16", "--threads=1",
    "--learning-rate=0.01", "--dropout=0", "--weight-decay=0", "--beta2=0.999",
    "--shift=0", "--rotate=0", "--stretch=0", "--shear=0", "--kernels=own",
]  # fmt: skip
SIZES = {"patch_size": 2, "d_model": 12, "n_layers": 1, "n_heads": 2, "batch_size": 16}
CHECKPOINT = "checkpoint.pt"
FILES = {
    "config.json", "confusion.csv", "curves.png", "metrics.jsonl", "predictions.png", "result.json",
    "weights.safetensors",
}  # fmt: skip


def striped(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    images = 0.3 * torch.rand(n, 3, 6, 10, generator=generator)  # H = 6, W = 10
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 2 * label : 2 * label + 2] += 0.6
    return images, labels


def rewrite(folder: Path, module: str, old: str, new: str) -> None:
    file = folder / f"{module}.py"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def unwrite(folder: Path, module: str, name: str) -> None:
    """Put the stub of one exercise back."""
    mine = definition((folder / f"{module}.py").read_text(encoding="utf-8"), name)
    rewrite(folder, module, mine, definition(pristine(module), name))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def metrics(run: Path) -> list[dict[str, Any]]:
    """What a run says of each epoch; nothing where none is done."""
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def at_step(number: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[Run], object]) -> None:
    """Something happens before that step of each run, counted from 1; the steps of its rehearsal don't count."""
    step, epoch, begun = Run.step, Run.epoch, []

    def beginning(run: Run, *asked: Any) -> bool:
        begun.append(run)
        return epoch(run, *asked)

    def stepping(run: Run, *batch: torch.Tensor) -> torch.Tensor:
        if run.steps_done == number - 1 and any(run is one for one in begun):
            act(run)
        return step(run, *batch)

    monkeypatch.setattr(Run, "epoch", beginning)
    monkeypatch.setattr(Run, "step", stepping)


def trained(**settings: Any) -> Run:
    """A small run without files, taken to its end."""
    return taken_to_its_end(preparation.prepare(make_config(**{**SIZES, "device": "cpu", **settings})))


def ctrl_c(_: Run) -> None:
    signal.raise_signal(signal.SIGINT)


def until_full(word: str, whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has room for so many files whose name has that word, and for the beginning of one more."""
    write, so_far = Path.write_bytes, []

    def writing(path: Path, data: bytes) -> int:
        if word in path.name:
            so_far.append(path)
            if len(so_far) > whole:
                write(path, data[:100])
                raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", writing)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
