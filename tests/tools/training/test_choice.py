"""A run computes in the fastest way that gives the same, says which, and keeps to what was typed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Command, Ended
from rich.console import Console
from small_runs import SMALL as OWN
from small_runs import read, same, trained
from torch import Tensor, nn

import solutions.ch04_encoder
from vitcourse.training import kernels, preparation, train
from vitcourse.training.configuration import make_config
from vitcourse.training.devices import settled
from vitcourse.training.presets import PRESETS
from vitcourse.training.rehearsal import Rehearsal
from vitcourse.training.train import rehearsed

pytestmark = pytest.mark.usefixtures("stripes", "undrawn")
SMALL = [*OWN, "--kernels=auto"]
LINE = re.compile(r"a step is computed (.*)")


def told(done: Ended) -> str | None:
    assert done.code == 0, done.err
    found = LINE.search(done.out)
    return found[1] if found else None


def test_a_run_says_once_how_it_computes_and_what_that_gained(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", *SMALL, "--epochs=50", "--output=run")
    line = told(done)
    assert line is not None
    assert line.startswith("by torch's kernels in 6 places and the last block for CLS alone: the same numbers, ")
    assert re.search(r"[\d.]+ times as fast as the lines \([\d.]+ ms, now [\d.]+\); the lines as written: --ker", line)
    assert done.out.count("times as fast") == 1
    config = read(tmp_path / "run" / "config.json")
    assert (config["kernels"], config["compile"]) == ("fused", "off")


def test_a_short_run_pays_for_no_measuring(vitcourse: Command) -> None:
    line = told(vitcourse("train", *SMALL, "--epochs=1", "--output=run"))
    assert line is not None
    assert "times as fast" not in line


def test_what_was_typed_is_done(vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_copy", None)  # nothing may even be tried
    done = vitcourse("train", *SMALL, "--epochs=1", "--output=run", "--kernels=own", "--compile=off")
    assert told(done) is None
    config = read(tmp_path / "run" / "config.json")
    assert (config["kernels"], config["compile"]) == ("own", "off")


def test_lines_that_were_asked_for_are_no_lack_of_kernels(vitcourse: Command) -> None:
    line = told(vitcourse("train", *SMALL, "--epochs=1", "--output=run", "--kernels=own", "--compile=auto"))
    assert line == "as the lines are written: --kernels own asks for it"


def test_a_resumed_run_keeps_what_it_had(vitcourse: Command, tmp_path: Path) -> None:
    """And what differs is rounding alone, as long as nothing is dropped."""
    accuracies = []
    for kind in ("own", "auto"):
        done = vitcourse("train", *SMALL, "--epochs=6", f"--output={kind}", f"--kernels={kind}")
        assert done.code == 0
        accuracies.append([round(epoch["loss"], 4) for epoch in read(tmp_path / kind / "result.json")["epochs"]])
    assert accuracies[0] == pytest.approx(accuracies[1], abs=2e-3)
    done = vitcourse("train", "--resume", "--output=own")
    assert told(done) is None
    assert read(tmp_path / "own" / "config.json")["kernels"] == "own"


class DoublingMLP(solutions.ch04_encoder.MLP):
    """A learner's, which no kernel replaces."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class NoisyBlock(solutions.ch04_encoder.EncoderBlock):
    """Chance of its own in training."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x + 0.01 * torch.randn_like(x) if self.training else x


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("MLP", DoublingMLP, "by torch's kernels in 5 places and the last block for CLS alone"),
        ("EncoderBlock", NoisyBlock, "as the lines are written: nothing that is faster gives the same here"),
    ],
)
def test_a_model_of_ones_own_is_computed_as_it_is(
    vitcourse: Command, monkeypatch: pytest.MonkeyPatch, name: str, other: type, words: str
) -> None:
    room = solutions.ch04_encoder if name == "MLP" else __import__("solutions.ch05_vit", fromlist=[name])
    monkeypatch.setattr(room, name, other)
    line = told(vitcourse("train", *SMALL, "--epochs=1", "--output=run"))
    assert line is not None
    assert line.startswith(words)


def test_kernels_that_fail_cost_no_run(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a precision that the trial didn't see, for instance."""

    def broken(block: nn.Module, x: Tensor, **how: Any) -> Tensor:
        if len(x) > kernels.SOME_IMAGES:
            raise RuntimeError("no such kernel")
        return right(block, x, **how)

    right = kernels.last_block
    monkeypatch.setattr(kernels, "last_block", broken)
    done = vitcourse("train", *SMALL, "--epochs=1", "--output=run")
    assert done.code == 0, done.err
    assert "what torch's kernels compute doesn't work here (RuntimeError); the run goes on without it" in done.out


@pytest.mark.parametrize(
    ("device", "change", "compiled"),
    [
        ("cpu", {}, "off"),
        ("cpu", {"epochs": 30_000}, "default"),
        ("cuda", {}, "off"),
        ("cuda", {"epochs": 1000}, "default"),  # many steps
        ("cuda", {"d_model": 6400, "epochs": 400}, "default"),  # large ones
        ("mps", {"epochs": 30_000}, "off"),
    ],
)
def test_only_a_long_run_is_compiled_unasked(device: str, change: dict[str, Any], compiled: str) -> None:
    config = settled(replace(PRESETS["digits"], **change), torch.device(device), n_images=1437, n_patches=4)
    assert (config.kernels, config.compile) == ("fused", compiled)
    typed = replace(PRESETS["digits"], **change, kernels="own", compile="reduce-overhead")
    assert settled(typed, torch.device(device), 1437, 4) == typed


@pytest.mark.parametrize(
    ("left_open", "paces", "chosen"),
    [
        (("kernels",), {"kernels": 1.0, "chosen": 1.5}, ("own", "default")),
        (("kernels",), {"kernels": 1.0, "chosen": 1.1}, ("fused", "default")),  # that may be chance
        (("kernels", "compile"), {"kernels": 2.0, "compile": 1.0, "chosen": 1.5}, ("fused", "off")),
        ((), {"kernels": 1.0, "chosen": 1.5}, ("fused", "default")),
    ],
)
def test_what_makes_it_clearly_slower_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, left_open: tuple[str, ...], paces: dict[str, float], chosen: tuple[str, str]
) -> None:
    first = iter([paces])
    monkeypatch.setattr(train, "rehearse", lambda _: Rehearsal(1, "", "", next(first, {})))
    setup = replace(preparation.prepare(make_config("digits", patch_size=2, compile="default")), left_open=left_open)
    config = rehearsed(setup, Console(quiet=True))[0].config
    assert (config.kernels, config.compile) == chosen


def test_the_same_seed_gives_the_same_weights_however_long_a_step_took() -> None:
    one, other = (trained(epochs=1).kept.state_dict() for _ in range(2))
    assert same(one, other)
