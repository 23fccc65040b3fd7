"""Training runs, most of them through the command line: what is said, what is kept, and how each way of failing ends.

The data are small, coloured and not square, and the class is the row that is bright; one run takes a fraction of a
second.
"""

import json
import math
import os
import pydoc
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from commands import Command
from safetensors.torch import load_file
from small_runs import (
    CHECKPOINT,
    FILES,
    SMALL,
    at_step,
    ctrl_c,
    metrics,
    read,
    rewrite,
    same,
    trained,
    until_full,
    unwrite,
)
from torch import nn

from solutions.ch05_vit import cross_entropy
from vitcourse.codesets import BrokenChapterError, load_code
from vitcourse.course import exercise
from vitcourse.data import Dataset
from vitcourse.errors import RequestError, RunError
from vitcourse.places import root
from vitcourse.stubs import write_stubs
from vitcourse.training import devices, preparation
from vitcourse.training.chapters import faults_in_one_line
from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run
from vitcourse.training.original import loss_floor, with_loss_of
from vitcourse.training.presets import MAY_DIFFER, PRESETS, TrainConfig
from vitcourse.training.rehearsal import rehearse
from vitcourse.training.train import learned_nothing
from vitcourse.training.trained import load_trained

# A run that goes well


@pytest.mark.usefixtures("stripes")
def test_a_run_says_what_it_does_learns_and_keeps_everything(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", *SMALL, "--epochs", "12", "--output", "run")
    assert done.code == 0, done.err
    assert "skipped x.png: ?" in done.out
    assert "stripes: 90 training images, 50 test images, 3 classes" in done.out
    assert "device cpu (threads: 1)" in done.out
    assert (
        "images (B=16, C=3, H=6, W=10) -> patches (B=16, N=15, D=12) -> tokens (B=16, T=16, D=12) -> logits (B=16, K=3)"
    ) in done.out
    assert done.out.count("epoch ") == 12

    run = tmp_path / "run"
    assert {entry.name for entry in run.iterdir()} == FILES
    epochs = metrics(run)
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 13))
    assert epochs[-1]["loss"] < 0.5 < epochs[0]["loss"]
    result = read(run / "result.json")
    assert result["finished"]
    assert result["steps"] == 12 * 6
    assert result["accuracy"] == epochs[-1]["accuracy"] > 0.9
    assert f"accuracy {result['accuracy']:.2%}" in done.out
    assert "weights.safetensors" in done.out.splitlines()[-1]
    assert read(run / "config.json")["epochs"] == 12


@pytest.mark.usefixtures("stripes", "undrawn")
def test_the_parameters_are_counted_and_a_bare_run_gets_a_name(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", "digits", *SMALL, "--epochs", "1")
    (run,) = (tmp_path / "runs").glob("digits-*")
    weights = load_file(run / "weights.safetensors")
    learned = sum(tensor.numel() for name, tensor in weights.items() if name != "positional_encoding.positions")
    assert f"parameters {learned:,}\n" in done.out
    assert read(run / "result.json")["parameters"] == learned


@pytest.mark.usefixtures("undrawn")
def test_the_weights_file_is_enough_to_have_the_model_back(
    vitcourse: Command, tmp_path: Path, stripes: Dataset
) -> None:
    vitcourse("train", *SMALL, "--epochs", "8", "--output", "run")
    trained = load_trained(tmp_path / "run")
    torch.testing.assert_close(trained.mean, stripes.mean)
    images = (stripes.test_images - trained.mean.view(-1, 1, 1)) / trained.std.view(-1, 1, 1)
    with torch.no_grad():
        right = trained.model(images).argmax(dim=-1) == stripes.test_labels
    assert float(right.float().mean()) == pytest.approx(read(tmp_path / "run" / "result.json")["accuracy"])
    assert trained.classes == ("top", "middle", "bottom")
    assert trained.config.epochs == 8


@pytest.mark.usefixtures("stripes", "undrawn")
def test_weights_that_are_none_are_refused_in_one_line(vitcourse: Command, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there are no weights at"):
        load_trained(tmp_path)
    vitcourse("train", *SMALL, "--epochs", "1", "--output", "run")
    file = tmp_path / "run" / "weights.safetensors"
    content = file.read_bytes()
    for broken in (b"", content[:100], content[:-1], b"PK" + content):
        file.write_bytes(broken)
        with pytest.raises(RequestError, match="is not a weights file"):
            load_trained(file)


@pytest.mark.usefixtures("stripes", "undrawn")
def test_the_seed_decides_everything_and_each_seed_something_else(vitcourse: Command, tmp_path: Path) -> None:
    """Dropout, shifts and the order of the images are on, so that each source of chance takes part."""
    chance = [*SMALL, "--epochs", "2", "--dropout", "0.1", "--shift", "1"]
    for name, seed in {"a": 3, "b": 3, "c": 4}.items():
        torch.rand(7)  # what happened before in the process makes no difference
        assert vitcourse("train", *chance, "--seed", str(seed), "--output", name).code == 0
    a, b, c = (tmp_path / name / "weights.safetensors" for name in "abc")
    assert a.read_bytes() == b.read_bytes()
    assert not torch.equal(load_file(a)["head.weight"], load_file(c)["head.weight"])


@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize(
    "options",
    [
        ["--ema", "0.9"],
        ["--amp", "bf16"],
        ["--positions", "learned", "--clip", "1", "--optimizer", "adam", "--learning-rate", "0.01"],
        ["--loss", "original", "--no-standardise", "--learning-rate", "0.01"],
    ],
)
def test_other_ways_of_training_learn_too(vitcourse: Command, tmp_path: Path, options: list[str]) -> None:
    assert vitcourse("train", *SMALL, "--epochs", "10", *options, "--output", "run").code == 0
    assert read(tmp_path / "run" / "result.json")["accuracy"] > 0.8


CHANGES = {
    "mixup": 0.5, "layer_decay": 0.5,
    "standardise": False, "shift": 2, "positions": "learned", "dropout": 0.2, "loss": "original", "optimizer": "adam",
    "learning_rate": 0.02, "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.5, "schedule": "constant", "warmup": 0.4,
    "clip": 0.01, "batch_size": 15, "epochs": 3, "ema": 0.9, "amp": "bf16", "seed": 1, "held_out": 7, "patch_size": 1,
    "d_model": 14, "n_layers": 2, "n_heads": 3, "mlp_ratio": 3, "crop": 4, "rotate": 9.0, "stretch": 0.2, "shear": 0.3,
    "flip": True, "elastic": 0.6, "hardest": 0.4,
}  # fmt: skip


@pytest.mark.usefixtures("stripes")
def test_every_setting_makes_a_difference() -> None:
    """An option that is read and then forgotten would leave the same weights as no option."""

    def weights(**changes: Any) -> dict[str, torch.Tensor]:
        return trained(**{"kernels": "own", "epochs": 2, **changes}).kept.state_dict()

    plain = weights()
    assert same(plain, weights())
    assert [name for name, value in CHANGES.items() if same(plain, weights(**{name: value}))] == []
    muon = {"optimizer": "muon"}
    assert not same(plain, weights(**muon))
    assert not same(weights(**muon), weights(**muon, muon_learning_rate=0.02))
    assert not same(weights(**muon), weights(**muon, muon_momentum=0.8))
    trapezoid = {"schedule": "trapezoid"}
    assert not same(plain, weights(**trapezoid))
    assert not same(weights(**trapezoid), weights(**trapezoid, cooldown=0.8))
    elsewhere = {"init", "micro_batch", "muon_learning_rate", "muon_momentum", "cooldown"}
    elsewhere |= {"preset", "data", "image_size", "code", *MAY_DIFFER}
    unheard = {*CHANGES, *elsewhere} ^ {field.name for field in fields(TrainConfig)}
    assert not unheard, f"{', '.join(sorted(unheard))}: no value in CHANGES with which a run differs, nor in elsewhere"


@pytest.mark.usefixtures("stripes", "undrawn", "no_compiler")
def test_a_compiler_that_is_not_there_does_not_stop_a_run(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", *SMALL, "--epochs=1", "--compile=default", "--output=run")
    assert done.code == 0, done.err
    assert "torch.compile doesn't work here (RuntimeError); the run goes on without it" in done.out
    assert read(tmp_path / "run" / "config.json")["compile"] == "off"


NOTHING = "builtins.breakpoint"


@pytest.mark.usefixtures("stripes")
@pytest.mark.parametrize(
    ("setting", "called"),
    [
        ({"pipeline": "loader"}, "vitcourse.training.batches.default_collate"),
        ({"fused": False}, NOTHING),  # test_optim.py looks at the optimiser
        ({"sync": True}, "torch.Tensor.item"),
        ({"kernels": "fused"}, "torch.nn.functional.gelu"),
        pytest.param({"compile": "default"}, "torch.compile", marks=pytest.mark.thorough),
    ],
)
def test_what_only_makes_it_faster_is_used_and_leaves_the_weights(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any], called: str
) -> None:
    """On the same device these settings change the weights by rounding at most."""
    calls: list[str] = []
    place, _, name = called.rpartition(".")
    owner = pydoc.locate(place)
    original = getattr(owner, name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        # Real compilation takes a minute; that the model compiles as one graph is another test's matter.
        return original(*args, **({"backend": "eager"} if name == "compile" else kwargs))

    monkeypatch.setattr(owner, name, spy)

    def logits(**changes: Any) -> torch.Tensor:
        calls.clear()
        plain = {"kernels": "own", "compile": "off", "shift": 0, "rotate": 0.0, "stretch": 0.0, "shear": 0.0}
        run = trained(**{"epochs": 1, **plain, **changes})
        return run.kept(run.setup.test_images)

    plain = logits()
    calls_before = len(calls)
    changed = logits(**setting)
    assert calls_before == 0
    assert calls or called == NOTHING
    torch.testing.assert_close(plain, changed, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("undrawn")
def test_the_test_set_stays_unseen_when_images_are_held_out(
    vitcourse: Command, tmp_path: Path, stripes: Dataset
) -> None:
    stripes.test_labels.fill_(-1)  # right answers can't come from there
    done = vitcourse("train", *SMALL, "--epochs", "8", "--held-out", "20", "--output", "run")
    assert "70 training images, 20 held-out images" in done.out
    assert "of 20 held-out images right" in done.out
    assert read(tmp_path / "run" / "result.json")["accuracy"] > 0.5


# The original's bug


def test_the_floor_is_what_the_softmax_leaves() -> None:
    """The best that any logits can do is the floor, to the last digit; without the softmax nothing holds them."""
    labels = torch.arange(10)
    perfect = 1e4 * torch.eye(10)
    assert loss_floor(10) == pytest.approx(math.log(1 + 9 / math.e)) == pytest.approx(1.4612, abs=5e-5)
    assert float(
        cross_entropy(with_loss_of(make_config("seed", loss="original"), nn.Identity())(perfect), labels)
    ) == pytest.approx(loss_floor(10))
    assert float(cross_entropy(perfect, labels)) < 1e-6
    for scale in (0.1, 1.0, 10.0):
        logits = scale * torch.randn(500, 10)
        assert cross_entropy(logits.softmax(dim=-1), logits.argmax(dim=-1)) > loss_floor(10)


@pytest.mark.usefixtures("stripes", "undrawn")
def test_both_losses_from_one_command_side_by_side(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", "seed", *SMALL, "--epochs", "8", "--loss", "both", "--output", "run")
    assert done.code == 0, done.err
    run = tmp_path / "run"
    assert {entry.name for entry in run.iterdir()} == {
        "config.json", "cross-entropy", "curves.png", "original", "result.json"
    }  # fmt: skip
    assert all({entry.name for entry in (run / part).iterdir()} == FILES for part in ("cross-entropy", "original"))
    result = read(run / "result.json")
    plain, original = (result["runs"][name]["epochs"] for name in ("cross-entropy", "original"))
    assert result["floor"] == pytest.approx(math.log(1 + 2 / math.e))
    assert all(epoch["loss"] > result["floor"] for epoch in original)
    assert plain[-1]["loss"] < result["floor"]
    for epoch in (*plain, *original):
        assert f"{epoch['loss']:.4f}" in done.out
    assert f"can't go below {result['floor']:.4f}" in done.out


@pytest.mark.usefixtures("stripes", "undrawn")
def test_both_start_from_the_same_weights_and_see_the_same_batches() -> None:
    setups = [
        preparation.prepare(make_config("seed", patch_size=2, batch_size=30, loss=loss))
        for loss in ("original", "cross-entropy")
    ]
    one, other = (Run.start(setup) for setup in setups)
    assert isinstance(one.trained, nn.Sequential)
    assert not isinstance(other.trained, nn.Sequential)
    assert all(torch.equal(a, b) for a, b in zip(one.kept.parameters(), other.kept.parameters(), strict=True))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one.batches, other.batches, strict=True))


# A learner's own code


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_learners_own_step_is_the_one_that_trains(vitcourse: Command, tmp_path: Path, learner: Path) -> None:
    rewrite(learner, "ch05_vit", "    optimizer.step()\n", "    for p in model.parameters(): p.data.fill_(0.125)\n")
    assert vitcourse("train", *SMALL, "--epochs", "1", "--code", str(learner), "--output", "run").code == 0
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert set(weights["head.weight"].flatten().tolist()) == {0.125}


@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("written", ["one", "two", "three"])
def test_other_right_answers_train_too(vitcourse: Command, written: str, optimizer: str) -> None:
    code = root() / "tests" / "tools" / "alternatives" / written
    done = vitcourse("train", *SMALL, "--epochs=1", "--optimizer", optimizer, "--clip=1", "--code", code)
    assert done.code == 0, done.err


@pytest.mark.usefixtures("stripes", "undrawn")
def test_what_training_does_not_need_may_be_missing(vitcourse: Command, learner: Path) -> None:
    for module, name in [
        ("ch01_patches", "unpatchify"),
        ("ch01_patches", "conv_to_linear"),
        ("ch02_tokens", "resize_positions"),
    ]:
        unwrite(learner, module, name)
    assert vitcourse("train", *SMALL, "--epochs", "1", "--code", str(learner)).code == 0


def test_unfinished_chapters_say_what_is_missing_and_what_to_type(vitcourse: Command, tmp_path: Path) -> None:
    write_stubs(tmp_path / "stubs")
    done = vitcourse("train", "--code", str(tmp_path / "stubs"))
    assert done.code == 2
    assert done.err.count("\n") == 1
    for words in ("training needs exercise 1.3", "vitcourse check 1.1", "vitcourse hint 1.1"):
        assert words in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize(
    ("module", "old", "new", "code", "said"),
    [
        ("ch04_encoder", "x = self.fc2(x)", "raise NotImplementedError('later')", 2, "is not written yet: later"),
        ("ch03_attention", "return output, weights", "return output[999], weights", 1, "mine/ch03_attention.py, line"),
        ("ch05_vit", "    return 0.5 * (1 + math.cos(math.pi * progress))", "    return", 1, "vitcourse check 5.3"),
        ("ch05_vit", "    return loss.detach()\n", "", 1, "vitcourse check 5.4"),
        ("ch05_vit", "    return float(correct / len(images))", "    return", 1, "vitcourse check 5.5"),
        ("ch05_vit", "def warmup_cosine", "def warmup_sine", 2, "mine/ch05_vit.py has no warmup_cosine"),
        ("ch05_vit", "import math\n", "import maths\n", 2, "mine/ch05_vit.py, line"),
        (
            "ch05_vit",
            "    amp_dtype: torch.dtype | None = None,\n",
            "",
            1,
            "argument 'amp_dtype'; to find out why, type vitcourse check 5.4",
        ),
        (
            "ch05_vit",
            'labels: Int[Tensor, "n"], batch_size: int\n',
            'labels: Int[Tensor, "n"]\n',
            1,
            "vitcourse check 5.5",
        ),
        (
            "ch05_vit",
            "        dropout: float = 0.0,\n",
            "",
            1,
            "mine/ch05_vit.py: TypeError: VisionTransformer.__init__()",
        ),
        (
            "ch05_vit",
            "return loss.detach()",
            "return loss.detach() * float('nan')",
            1,
            "the loss became nan in epoch 1",
        ),
    ],
)
def test_faults_of_a_learner_end_in_one_line(
    vitcourse: Command, learner: Path, module: str, old: str, new: str, code: int, said: str
) -> None:
    rewrite(learner, module, old, new)
    done = vitcourse("train", *SMALL, "--epochs", "2", "--code", str(learner))
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert said in done.err


@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize(
    ("option", "old", "check"),
    [("--mixup=0.3", "    return loss.mean()", "7.4"), ("--micro-batch=7", "    return total", "7.5")],
)
def test_a_step_that_takes_the_place_of_5_4_says_which_answer_gives_no_loss(
    vitcourse: Command, learner: Path, option: str, old: str, check: str
) -> None:
    rewrite(learner, "ch07_transfer", old, "    return None")
    done = vitcourse("train", *SMALL, "--epochs=1", "--code", str(learner), option)
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert f"{exercise(check).names[-1]} returns no tensor without axes; to find out why" in done.err
    assert done.err.endswith(f"vitcourse check {check}\n")


# Wrong requests


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_computed(
    vitcourse: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and os.path.exists(path))  # noqa: PTH110
    for words in ([], ["--output", "new/run"]):
        done = vitcourse("train", *words)
        assert (done.code, done.out) == (2, "")
        assert "can't be written to; type --output with a folder that can be written\n" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digit"], "did you mean digits?"),
        (["--data", "digitz"], "digitz"),
        (["--data", "folder:nowhere"], "nowhere"),
        (["--device", "gpu"], "--device"),
        (["--code", "nowhere"], "nowhere"),
        (["--patch-size", "3"], "3"),
        (["--n-heads", "5"], "5"),
        (["--image-size", "9"], "9"),
        (["--held-out", "1437"], "1,437"),
        (["--epochs", "-1"], "--epochs must be at least 1, not -1"),
        (["--learning-rate", "-0.1"], "--learning-rate must be more than 0"),
        (["--epochs", "many"], "--epochs"),
        (["--shift", "8.5"], "--shift 8.5 is more than the images have: 8×8 pixels; type 8 or less"),
        (["--threads", "100000"], "--threads must be at most 1024"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--bogus", "1"], "--bogus"),
        (["digits", "mnist"], "mnist"),
        (["--output", "file"], "not empty"),
        (["--output", "full"], "not empty"),
        (["--output", "file/run"], "can't write"),
        (["--d-model", "1000000", "--n-heads", "1", "--threads", "1", "--batch-size", "1"], "too large"),
        (["--d-model", "64000", "--n-layers", "1000", "--patch-size", "1"], "GiB, and there are"),
    ],
)
def test_a_wrong_request_ends_in_one_line_and_leaves_nothing(
    vitcourse: Command, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "result.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    done = vitcourse("train", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err
    assert done.err.startswith("vitcourse: ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_says_what_to_type(vitcourse: Command, name: str) -> None:
    assert preparation.choose_device("auto").type == "cpu"
    done = vitcourse("train", "--device", name)
    assert (done.code, done.err) == (2, f"vitcourse: there is no {name.upper()} device here; type --device cpu\n")


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch sees, and for which it has no kernels."""
    ones = torch.ones

    def without_kernels(*size: Any, **options: Any) -> torch.Tensor:
        if str(options.get("device", "cpu")).startswith("cuda"):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with …")
        return ones(*size, **options)

    # Not torch.cuda.is_available: where there is no driver, torch's optimisers would fall over it.
    monkeypatch.setattr(devices, "is_there", lambda name: name != "mps")
    monkeypatch.setattr(torch, "ones", without_kernels)


@pytest.mark.usefixtures("stripes", "undrawn", "old_gpu")
def test_a_gpu_that_torch_no_longer_serves_is_passed_over_or_refused(vitcourse: Command) -> None:
    said = (
        "the GPU can't compute with this torch (CUDA error: no kernel image is available for execution on the device)"
    )
    passed = vitcourse("train", *SMALL, "--epochs", "1")
    assert passed.code == 0, passed.err
    assert f"{said}; the run goes on on the CPU\n" in passed.out
    assert "device cpu" in passed.out
    refused = vitcourse("train", *SMALL, "--epochs", "1", "--device", "cuda")
    assert (refused.code, refused.err) == (2, f"vitcourse: {said}; type --device cpu, or vitcourse doctor\n")


@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA error: device-side assert triggered\nmore"), "--device cpu"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "type --batch-size 8, or a smaller --d-model"),
        (MemoryError(), "type --batch-size 8"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:66] DefaultCPUAllocator: not enough memory"), "--batch-size 8"),
    ],
)
@pytest.mark.parametrize("where", ["step", "end_epoch"])
def test_what_the_machine_cannot_do_is_one_line_also_in_the_middle(
    vitcourse: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str, where: str
) -> None:
    original = getattr(Run, where)

    def failing(run: Run, *arguments: Any) -> Any:
        if run.steps_done > 4:
            raise error
        return original(run, *arguments)

    monkeypatch.setattr(Run, where, failing)
    done = vitcourse("train", *SMALL, "--epochs", "1")
    assert (done.code, done.err.count("\n"), said in done.err) == (2, 1, True), done.err


@pytest.mark.usefixtures("undrawn")
def test_the_rehearsal_measures_as_many_images_as_the_run_will(
    stripes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = preparation.prepare(make_config(patch_size=2, batch_size=7))
    seen: list[int] = []
    measure = setup.chapter.evaluate
    monkeypatch.setattr(
        setup.chapter,
        "evaluate",
        lambda model, images, *rest: (seen.append(len(images)), measure(model, images, *rest))[1],
    )
    rehearse(setup)
    assert seen == [50]


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_run_that_learned_nothing_says_so_and_what_to_try(vitcourse: Command) -> None:
    lost = vitcourse("train", *SMALL, "--epochs", "3", "--learning-rate", "30", "--schedule", "constant")
    assert lost.code == 0
    assert "it learned nothing: its loss is" in lost.out
    assert f"type --learning-rate {PRESETS['digits'].learning_rate:g}, or --clip 1" in lost.out
    idle = vitcourse("train", *SMALL, "--epochs", "1", "--learning-rate", "1e-9")
    assert f"type --learning-rate {PRESETS['digits'].learning_rate:g}, or --clip 1" in idle.out  # and not less still
    assert "learned nothing" not in vitcourse("train", *SMALL, "--epochs", "8").out


def test_the_learning_rate_has_its_usual_short_name(vitcourse: Command) -> None:
    assert vitcourse("train", "--lr", "nan").err == "vitcourse: --learning-rate must be a number, not nan\n"


@pytest.mark.parametrize(
    ("classes", "accuracy", "says"),
    [(2, 0.97, False), (2, 0.5, True), (2, 0.6, True), (10, 0.48, False), (10, 0.15, True)],
)
def test_a_loss_at_chance_is_no_verdict_on_a_model_that_answers_rightly(
    classes: int, accuracy: float, says: bool
) -> None:
    dataset = SimpleNamespace(test_labels=torch.arange(70) % classes, classes=range(classes))
    run = SimpleNamespace(setup=SimpleNamespace(dataset=dataset, config=PRESETS["digits"]))
    result = SimpleNamespace(accuracy=accuracy, epochs=[SimpleNamespace(loss=math.log(classes))])
    assert bool(learned_nothing(result, run)) == says


@pytest.mark.usefixtures("stripes", "undrawn")
def test_what_is_asked_for_in_vain_is_said_before_the_run(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    done = vitcourse("train", *SMALL, "--epochs", "1", "--device", "cpu", "--threads", "2", "--graph")
    assert "--graph is for a GPU, and this is cpu: no step is recorded\n" in done.out
    assert "--threads is 2, more than the processors (1): that is slower\n" in done.out


@pytest.mark.usefixtures("stripes", "undrawn")
def test_the_last_lines_say_what_to_type_next_and_what_was_mistaken(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("train", *SMALL, "--epochs", "1", "--batch-size", "4000", "--output", "my run")
    assert "all 90 training images are one batch, since --batch-size is 4,000\n" in done.out
    *_, ask, look, files = done.out.splitlines()
    assert ask.endswith("vitcourse predict PICTURE --run 'my run'")
    assert "vitcourse explore 'my run'" in look
    assert "vitcourse runs" in look
    assert files.startswith("my run: ")
    head, *rows = (tmp_path / "my run" / "confusion.csv").read_text(encoding="utf-8").splitlines()
    assert head.endswith("top,middle,bottom")
    counts = [[int(number) for number in row.split(",")[1:]] for row in rows]
    assert sum(map(sum, counts)) == 50
    accuracy = read(tmp_path / "my run" / "result.json")["accuracy"]
    assert sum(counts[n][n] for n in range(3)) == round(50 * accuracy)
    assert read(tmp_path / "my run" / "result.json")["epochs"][0]["test_loss"] > 0


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_disk_that_fills_up_ends_in_one_line(
    vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_full("weights", 0, monkeypatch)
    done = vitcourse("train", *SMALL, "--epochs", "1", "--output", "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "No space left on device" in done.err
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {"config.json", "metrics.jsonl", CHECKPOINT}


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_loss_that_is_no_number_stops_the_run(vitcourse: Command) -> None:
    done = vitcourse("train", *SMALL, "--epochs", "50", "--learning-rate", "1e30", "--schedule", "constant")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "the loss became" in done.err
    assert "--learning-rate" in done.err
    listed = vitcourse("runs").out
    assert "--resume" not in listed  # it would come to the same
    assert f"can't go on: {done.err.removeprefix('vitcourse: ').strip()}" in listed
    for wrong in (vitcourse("train", "--resume"), vitcourse("predict", "seven.png")):
        assert (wrong.code, wrong.err.count("\n")) == (2, 1)
        assert "to go on" not in wrong.err


# Ctrl-C


@pytest.mark.usefixtures("stripes", "undrawn", "attended")
@pytest.mark.parametrize(("step", "whole_epochs"), [(2, 0), (6, 1), (9, 1), (18, 3)])
def test_ctrl_c_keeps_what_was_learned_so_far(
    vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, whole_epochs: int
) -> None:
    at_step(step, monkeypatch, ctrl_c)
    done = vitcourse("train", *SMALL, "--epochs", "20", "--output", "run")
    assert (done.code, done.err) == (1, "")
    assert f"stopped after step {step}; what was learned so far is kept" in done.out
    assert done.out.endswith("to go on, type: vitcourse train --resume --output run\n")
    run = tmp_path / "run"
    assert {entry.name for entry in run.iterdir()} == FILES | {CHECKPOINT}
    result = read(run / "result.json")
    assert (result["finished"], result["steps"], len(result["epochs"])) == (False, step, whole_epochs)
    assert len(metrics(run)) == whole_epochs
    assert load_trained(run).config.epochs == 20
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("stripes", "undrawn", "attended")
def test_ctrl_c_during_the_first_of_two_runs_ends_both(
    vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(3, monkeypatch, ctrl_c)
    done = vitcourse("train", *SMALL, "--epochs", "2", "--loss", "both", "--output", "run")
    assert done.code == 1
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {
        "config.json", "cross-entropy", "curves.png", "result.json"
    }  # fmt: skip


@pytest.mark.usefixtures("stripes", "undrawn", "attended")
def test_ctrl_c_between_two_runs_ends_both(vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        at_step(6, patch, ctrl_c)  # the last step of the first run
        done = vitcourse("train", *SMALL, "--epochs", "1", "--loss", "both", "--output", "runs/both")
    assert (done.code, done.err) == (1, "vitcourse: stopped before the run with the softmax in front began\n")
    assert not (tmp_path / "runs" / "both" / "original").exists()
    begun, waiting = json.loads(vitcourse("runs", "--json").out)
    assert (begun["run"], begun["epochs_done"], begun["resume"]) == ("both/cross-entropy", 1, None)
    assert (waiting["run"], waiting["epochs_done"]) == ("both/original", 0)
    assert waiting["resume"] == "vitcourse train --resume --output runs/both"
    resumed = vitcourse("train", "--resume")  # half of it is finished, and no more
    assert resumed.code == 0, resumed.err
    assert {entry.name for entry in (tmp_path / "runs" / "both" / "original").iterdir()} == FILES


@pytest.mark.usefixtures("stripes", "undrawn")
def test_a_background_job_goes_on_ignoring_ctrl_c(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    at_step(2, monkeypatch, ctrl_c)
    done = vitcourse("train", *SMALL, "--epochs", "1")
    signal.signal(signal.SIGINT, before)
    assert done.code == 0


@pytest.mark.usefixtures("attended")
def test_ctrl_c_before_training_is_one_line_too(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "load_dataset", lambda *_: signal.raise_signal(signal.SIGINT))
    done = vitcourse("train")
    assert (done.code, done.err) == (1, "vitcourse: stopped\n")


@pytest.mark.thorough
@pytest.mark.usefixtures("attended")
@pytest.mark.skipif(sys.platform == "win32", reason="a signal can't be sent to another process as Ctrl-C would be")
def test_ctrl_c_from_outside_in_the_first_epoch(tmp_path: Path) -> None:
    """The real thing: another process, digits, an epoch of 1,437 steps."""
    command = [sys.executable, "-m", "vitcourse", "train", "--batch-size", "1", "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "metrics.jsonl").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (1, ""), err
    assert "what was learned so far is kept" in out
    assert not read(tmp_path / "run" / "result.json")["finished"]
    assert load_trained(tmp_path / "run").classes == tuple("0123456789")


# The digits themselves


@pytest.mark.usefixtures("undrawn")
def test_the_digits_are_learned_in_a_few_epochs(vitcourse: Command, tmp_path: Path) -> None:
    """The whole recipe takes longer than a test should; .ci/run asks for its accuracy."""
    assert vitcourse("train", "--epochs", "5", "--output", "run").code == 0
    assert read(tmp_path / "run" / "result.json")["accuracy"] > 0.9


def test_a_learners_own_exit_is_no_success(tmp_path: Path) -> None:
    file = tmp_path / "ch05_vit.py"
    file.write_text("import sys\n\n\ndef train_step():\n    sys.exit(0)\n", encoding="utf-8")
    own: dict[str, Any] = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), own)
    with (
        pytest.raises(RunError, match=r"ch05_vit\.py, line 5: SystemExit"),
        faults_in_one_line(load_code(str(tmp_path))),
    ):
        own["train_step"]()


def test_a_chapter_that_exits_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "ch01_patches.py").write_text("import sys\n\nsys.exit(7)\n", encoding="utf-8")
    with pytest.raises(BrokenChapterError, match=r"ch01_patches\.py, line 3: SystemExit: 7"):
        load_code(str(tmp_path)).module("ch01_patches")
