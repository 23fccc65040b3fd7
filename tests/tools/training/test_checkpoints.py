"""Runs that were killed and go on: nothing is lost, and on the CPU the weights come out bit for bit as without.

Most deaths here happen inside the process: an exception that nothing catches, at a step, in the middle of a write, or
between the files. One test sends real SIGKILLs.
"""

import io
import json
import math
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Command
from safetensors.torch import load_file
from small_runs import CHECKPOINT, FILES, SMALL, at_step, ctrl_c, metrics, read, same, until_full

from vitcourse.data import Dataset
from vitcourse.errors import RequestError
from vitcourse.training import checkpoints
from vitcourse.training.checkpoints import Pace, checkpoint_file, read_checkpoint
from vitcourse.training.loop import Run

pytestmark = pytest.mark.usefixtures("stripes", "undrawn", "kept_at_each_epoch")

# Every source of chance and every kind of state takes part.
RICH = [
    *SMALL, "--epochs=4", "--dropout=0.2", "--shift=1", "--ema=0.9", "--clip=1", "--schedule=cosine",
]  # fmt: skip
STEPS = 4 * 6


UNCHANGED = Run.epoch


@pytest.fixture
def kept_at_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each epoch took half a minute: a checkpoint is always due, but not within an epoch."""
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    never = Pace(lambda: None)
    never.next = math.inf
    monkeypatch.setattr(
        Run, "epoch", lambda run, number, display, stop, _: UNCHANGED(run, number, display, stop, never)
    )


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs lie that several tests look at, each made by the first of them."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def whole(vitcourse: Command, made_once: Path) -> Path:
    """A run that nothing stopped."""
    if not (made_once / "whole").exists():
        assert vitcourse("train", *RICH, "--output", str(made_once / "whole")).code == 0
    return made_once / "whole"


class Killed(BaseException):
    """The end of the process, which no code of ours catches."""


def die(_: Run) -> None:
    raise Killed


def die_at_write(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends in the middle of that one of its writes, and leaves half a file."""
    write, so_far = Path.write_bytes, []

    def half(path: Path, data: bytes) -> int:
        so_far.append(path)
        if len(so_far) == number:
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
            raise Killed
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", half)
    # A process that is no more cleans nothing up.
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)


def killed(number: int, vitcourse: Command, *words: str, how: Callable[[Run], None] = die) -> None:
    """The process ends before that step of the run."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(number, patch, how)
        with pytest.raises(Killed):
            vitcourse(*words)


@pytest.mark.parametrize(
    ("words", "steps"), [(["--optimizer=adamw"], (1, 2, 7, 18)), (["--optimizer=muon", "--kernels=auto"], (12, STEPS))]
)
def test_a_run_killed_at_any_step_ends_as_if_it_never_was(
    vitcourse: Command, tmp_path: Path, words: list[str], steps: tuple[int, ...]
) -> None:
    rich = [*RICH, *words]
    assert vitcourse("train", *rich, "--output", "whole").code == 0
    for step in steps:
        run = f"killed-{step}"
        killed(step, vitcourse, "train", *rich, "--output", run)
        resumed = vitcourse("train", "--resume", "--output", run)
        assert resumed.code == 0, resumed.err
        at = (step - 1) // 6
        assert f"epoch {at + 1}, step {6 * at + 1} of {STEPS}" in resumed.out
        compare(tmp_path / "whole", tmp_path / run)


def compare(whole: Path, resumed: Path) -> None:
    """The same weights to the last bit, the same figures, the same files."""
    assert same(*(load_file(folder / "weights.safetensors") for folder in (whole, resumed)))
    assert {entry.name for entry in resumed.iterdir() if not entry.name.endswith(".part")} == FILES
    one, other = (metrics(folder) for folder in (whole, resumed))
    for epoch in (*one, *other):
        del epoch["seconds"], epoch["images_per_second"]
    assert one == other


def test_a_run_killed_during_any_write_ends_as_if_it_never_was(vitcourse: Command, tmp_path: Path) -> None:
    short = [*SMALL, "--epochs=2", "--dropout=0.2"]
    assert vitcourse("train", *short, "--output", "whole").code == 0
    deaths = 0
    for number in range(1, 100):
        run = f"write-{number}"
        with pytest.MonkeyPatch.context() as patch:
            die_at_write(number, patch)
            try:
                vitcourse("train", *short, "--output", run)
                break
            except Killed:
                deaths += 1
        resumed = vitcourse("train", *short, "--resume", "--output", run)
        if number == 1:
            # A death before there was any configuration leaves nothing to resume.
            assert "no run to resume" in resumed.err
            continue
        assert resumed.code == 0, resumed.err
        compare(tmp_path / "whole", tmp_path / run)
    # Configuration; metrics and checkpoint at the start and after each epoch; weights, two pictures, table, result.
    assert deaths == 1 + 2 * 3 + 5


@pytest.mark.usefixtures("attended")
def test_ctrl_c_loses_not_even_a_step(
    vitcourse: Command, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (4, 14):
        at_step(number, monkeypatch, ctrl_c)
    assert vitcourse("train", *RICH, "--output", "run").code == 1
    again = vitcourse("train", "--resume", "--output", "run")
    assert again.code == 1
    assert "epoch 1, step 5 of 24" in again.out
    last = vitcourse("train", "--resume", "--output", "run")
    assert (last.code, "epoch 3, step 15 of 24" in last.out) == (0, True)
    compare(whole, tmp_path / "run")


@pytest.mark.usefixtures("attended")
def test_two_ctrl_c_leave_a_run_as_resumable_as_one(
    vitcourse: Command, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(10, monkeypatch, lambda run: [ctrl_c(run) for _ in range(2)])
    done = vitcourse("train", *RICH, "--output", "run")
    assert (done.code, done.err) == (1, "")
    assert "to go on, type: vitcourse train --resume --output run" in done.out
    last = vitcourse("train", "--resume", "--output", "run")
    assert (last.code, "epoch 2, step 11 of 24" in last.out) == (0, True)
    compare(whole, tmp_path / "run")


def test_sigterm_is_a_wish_to_stop_too(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(4, monkeypatch, lambda _: signal.raise_signal(signal.SIGTERM))
    done = vitcourse("train", *RICH, "--output", "run")
    assert (done.code, "stopped after step 4;" in done.out) == (1, True)


def test_long_epochs_are_kept_in_between(
    vitcourse: Command, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Run, "epoch", UNCHANGED)
        killed(10, vitcourse, "train", *RICH, "--output", "run")
    resumed = vitcourse("train", "--resume", "--output", "run")
    assert "epoch 2, step 10 of 24" in resumed.out
    compare(whole, tmp_path / "run")


def test_short_epochs_are_kept_no_more_often_than_each_half_minute(
    vitcourse: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint at the start, one at the end; and a large one, which took long to write, is still rarer."""
    monkeypatch.setattr(Run, "epoch", UNCHANGED)
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 30.0)
    monkeypatch.setattr(checkpoints, "SHARE", 0.05)
    written: list[Pace] = []
    keep = Pace.keep
    monkeypatch.setattr(Pace, "keep", lambda pace: (written.append(pace), keep(pace))[1])
    assert vitcourse("train", *RICH, "--output", "run").code == 0
    assert len(written) == 2
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now[0])
    for took, until in ((1.0, 31.0), (4.0, 84.0)):
        now[0] = 0.0
        pace = Pace(lambda took=took: now.__setitem__(0, took))
        assert pace.due
        pace.keep()
        assert [(now.__setitem__(0, moment), pace.due)[1] for moment in (until - 0.1, until)] == [False, True]


def test_both_losses_are_resumed_each_where_it_was(vitcourse: Command, tmp_path: Path) -> None:
    both = [*RICH, "--loss", "both"]
    assert vitcourse("train", *both, "--output", "whole").code == 0
    killed(12, vitcourse, "train", *both, "--output", "run", how=die_in_the_second_of_two)
    resumed = vitcourse("train", "--resume", "--output", "run")
    assert resumed.code == 0, resumed.err
    assert "finished already" in resumed.out
    assert "epoch 2, step 7 of 24" in resumed.out
    for part in ("cross-entropy", "original"):
        compare(tmp_path / "whole" / part, tmp_path / "run" / part)


def die_in_the_second_of_two(run: Run) -> None:
    if run.setup.config.loss == "original":
        raise Killed


def test_a_finished_run_is_finished(vitcourse: Command) -> None:
    assert vitcourse("train", *SMALL, "--epochs", "1", "--output", "run").code == 0
    again = vitcourse("train", "--resume", "--output", "run")
    assert (again.code, "finished already" in again.out) == (0, True)


def test_resume_without_a_folder_takes_the_latest_unfinished_run(vitcourse: Command, tmp_path: Path) -> None:
    nothing = vitcourse("train", "--resume")
    assert nothing.code == 2
    assert nothing.err.endswith("there is no unfinished run in runs/ to resume; leave --resume out to start one\n")
    assert "did you mean digits?" in vitcourse("train", "digit", "--resume").err
    assert vitcourse("train", *RICH).code == 0
    killed(10, vitcourse, "train", *RICH, "--output", "runs/mine")
    assert "of seed in runs/" in vitcourse("train", "seed", "--resume").err
    assert "resumed from runs/mine" in vitcourse("train", "digits", "--resume").out
    assert "no unfinished run" in vitcourse("train", "--resume").err


def test_resume_where_nothing_is_yet_starts(vitcourse: Command, tmp_path: Path) -> None:
    """So that one and the same line can be typed, or queued, as often as needed."""
    line = ("train", *SMALL, "--epochs", "1", "--output", "run", "--resume")
    assert vitcourse(*line).code == 0
    assert vitcourse(*line).code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    refused = vitcourse("train", "--resume", "--output", "other")
    assert (refused.code, "holds no run to resume" in refused.err) == (2, True)


# Checkpoints that are none


@pytest.fixture
def stopped(vitcourse: Command, tmp_path: Path, made_once: Path) -> Path:
    """A run that was killed in its third epoch."""
    if not (made_once / "stopped").exists():
        killed(15, vitcourse, "train", *RICH, "--output", str(made_once / "stopped"))
    return Path(shutil.copytree(made_once / "stopped", tmp_path / "run"))


def torn(content: bytes) -> bytes:
    """One byte in the middle of a tensor is another."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    middle = content.index(state["run"]["model"]["head.weight"].numpy().tobytes()) + 7
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def foreign(content: bytes) -> bytes:
    """A file that torch saved, but not as a checkpoint."""
    other = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, other)
    return other.getvalue()


@pytest.mark.parametrize("damage", [lambda _: b"", lambda c: c[: len(c) // 2], lambda c: c[:-1], torn, foreign])
def test_a_damaged_checkpoint_is_refused_in_one_line(
    vitcourse: Command, stopped: Path, damage: Callable[[bytes], bytes]
) -> None:
    file = stopped / CHECKPOINT
    file.write_bytes(damage(file.read_bytes()))
    refused = vitcourse("train", "--resume", "--output", "run")
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "run/checkpoint.pt is not a whole checkpoint" in refused.err


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    file = tmp_path / "checkpoint.pt"
    file.write_bytes(checkpoint_file({"run": Trap()}))
    with pytest.raises(RequestError, match="not a whole checkpoint"):
        read_checkpoint(file)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--learning-rate", "0.5"], "has --learning-rate 0.01; leave --learning-rate out"),
        (["seed"], "is a run of digits, not of seed"),
        (["--epochs", "9"], "has --epochs 4"),
        (["--init", "other"], "began without --init; leave --init out"),
    ],
)
def test_other_settings_than_the_run_has_are_refused(
    vitcourse: Command, stopped: Path, words: list[str], said: str
) -> None:
    refused = vitcourse("train", *words, "--resume", "--output", "run")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert said in refused.err


def test_what_the_machine_decides_may_change(vitcourse: Command, stopped: Path) -> None:
    changed = ("--no-fused", "--sync", "--pipeline", "loader", "--learning-rate", "0.01")
    assert vitcourse("train", *changed, "--resume", "--output", "run").code == 0


def as_a_gpu_leaves_it(file: Path) -> None:
    """The generators' states as CUDA has them, 16 bytes each, and the tensors marked as those of a GPU."""
    state = read_checkpoint(file)
    state["run"]["batches"]["augmentation"] = torch.zeros(16, dtype=torch.uint8)
    for states in state["run"]["rng_states"]:
        states["cuda"] = torch.zeros(16, dtype=torch.uint8)
    content = checkpoint_file(state)
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(file, "w") as marked:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            marked.writestr(entry.filename, data)


def test_a_gpus_checkpoint_goes_on_on_the_cpu_and_says_what_is_drawn_anew(vitcourse: Command, stopped: Path) -> None:
    as_a_gpu_leaves_it(stopped / CHECKPOINT)
    done = vitcourse("train", "--resume", "--device", "cpu", "--output", "run")
    assert done.code == 0, done.err
    assert "epoch 3, step 13 of 24" in done.out
    assert "another kind of device: augmentations and dropout are drawn anew" in done.out


def test_a_run_from_before_a_setting_was_there_goes_on(vitcourse: Command, stopped: Path) -> None:
    file, config = stopped / CHECKPOINT, read(stopped / "config.json")
    state = read_checkpoint(file)
    for settings in (state["config"], config):
        del settings["elastic"]
    file.write_bytes(checkpoint_file(state))
    (stopped / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = vitcourse("train", "--resume", "--output", "run")
    assert (done.code, "epoch 3, step 13 of 24" in done.out) == (0, True), done.err


def test_why_a_checkpoint_does_not_fit_is_said(vitcourse: Command, stopped: Path) -> None:
    file = stopped / CHECKPOINT
    state = read_checkpoint(file)
    del state["run"]["optimizer"]
    file.write_bytes(checkpoint_file(state))
    refused = vitcourse("train", "--resume", "--output", "run")
    assert (refused.code, refused.err.count("\n"), "(it has no optimizer)" in refused.err) == (2, 1, True)
    state["run"]["model"]["head.weight"] = torch.zeros(3, 5)  # as after a change in the learner's chapters
    file.write_bytes(checkpoint_file(state))
    refused = vitcourse("train", "--resume", "--output", "run")
    assert "doesn't fit the model of solutions any more (size mismatch for head.weight" in refused.err


def test_other_images_are_refused(vitcourse: Command, stopped: Path, request: pytest.FixtureRequest) -> None:
    data: Dataset = request.getfixturevalue("stripes")
    data.train_labels.copy_(data.train_labels.flip(0))
    refused = vitcourse("train", "--resume", "--output", "run")
    assert (refused.code, "the training images are others now" in refused.err) == (2, True)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    vitcourse: Command, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        until_full(CHECKPOINT, 3, patch)
        full = vitcourse("train", *RICH, "--output", "run")
        assert (full.code, full.err.count("\n")) == (2, 1)
        assert "No space left on device" in full.err
    assert zipfile.ZipFile(tmp_path / "run" / CHECKPOINT).testzip() is None
    resumed = vitcourse("train", "--resume", "--output", "run")
    assert "epoch 3, step 13 of 24" in resumed.out
    compare(whole, tmp_path / "run")


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    """Another process, the digits, SIGKILL; benchmarks/kills.py does it twenty times and compares the weights."""
    run = tmp_path / "run"
    options = ["--epochs", "3", "--batch-size", "16", "--threads", "1", "--device", "cpu", "--output", str(run)]
    command = [sys.executable, "-m", "vitcourse", "train", *options, "--resume"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not metrics(run) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    last = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert last.returncode == 0, last.stderr
    assert "resumed from" in last.stdout
    assert read(run / "result.json")["steps"] == 3 * 90
    assert {entry.name for entry in run.iterdir() if not entry.name.endswith(".part")} == FILES
