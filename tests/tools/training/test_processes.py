"""Several processes that train one model: each takes its share, and together they do what one alone does."""

import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import Command
from rich.console import Console
from small_runs import SMALL, at_step, metrics, read

from vitcourse import cli
from vitcourse.data import Dataset
from vitcourse.errors import RequestError
from vitcourse.training import loop, preparation
from vitcourse.training.batches import Batches
from vitcourse.training.checkpoints import Pace, StopOnInterrupt
from vitcourse.training.configuration import make_config
from vitcourse.training.display import Display
from vitcourse.training.loop import Run
from vitcourse.training.processes import Processes

NEEDS_FORK = pytest.mark.skipif(sys.platform != "linux", reason="these tests fork, which is safe on Linux alone")


def run_together(world: int, *words: str) -> list[int]:
    """The command in so many processes, as torchrun would start them; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def one(rank: int) -> None:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
        sys.argv = ["vitcourse", *words]
        cli.main()

    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=one, args=(rank,)) for rank in range(world)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=120)
    return [process.exitcode if process.exitcode is not None else -1 for process in started]


def figures(run: Path) -> list[tuple[float, float]]:
    return [(epoch["loss"], epoch["accuracy"]) for epoch in metrics(run)]


@NEEDS_FORK
@pytest.mark.usefixtures("stripes", "undrawn")
@pytest.mark.parametrize(
    ("world", "options"),
    [
        (2, ["--kernels=auto"]),
        # 90 images: the last batch has 13, shared as 6 and 7.
        (2, ["--batch-size=11", "--shift=1", "--clip=0.5", "--ema=0.9"]),
        # The last batch has one image; two of the processes get none.
        (3, ["--batch-size=89", "--optimizer=muon", "--loss=original"]),
    ],
)
def test_several_processes_do_what_one_does(vitcourse: Command, tmp_path: Path, world: int, options: list[str]) -> None:
    words = ["train", *SMALL, "--epochs=3", *options, "--device=cpu", "--output"]
    assert vitcourse(*words, "alone").code == 0
    assert run_together(world, *words, "together") == [0] * world
    alone, together = figures(tmp_path / "alone"), figures(tmp_path / "together")
    assert len(alone) == len(together) == 3
    for one, many in zip(alone, together, strict=True):
        assert many == pytest.approx(one, rel=1e-4)
    assert read(tmp_path / "together" / "result.json")["n_measured"] == 50
    assert read(tmp_path / "together" / "result.json")["device"] == f"{world} × cpu"


@NEEDS_FORK
@pytest.mark.usefixtures("stripes", "undrawn")
def test_what_two_began_two_or_one_can_finish(
    vitcourse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", *SMALL, "--epochs=3", "--device=cpu", "--output"]
    assert vitcourse(*words, "whole").code == 0
    monkeypatch.setattr(loop, "STEPS_BETWEEN_QUESTIONS", 2)
    for world in (1, 2):
        run = f"stopped-{world}"
        # A process group stopped by SIGTERM, as a scheduler does it: all of them stop at the same step.
        with pytest.MonkeyPatch.context() as patch:
            at_step(7, patch, stop_one)  # and step 8 is the second of its epoch, after which they ask
            assert run_together(2, *words, run) == [1, 1]
        assert read(tmp_path / run / "result.json")["steps"] == 8
        assert run_together(world, "train", "--resume", "--output", run) == [0] * world
        for one, many in zip(figures(tmp_path / "whole"), figures(tmp_path / run), strict=True):
            assert many == pytest.approx(one, rel=1e-4)


def stop_one(run: Run) -> None:
    if run.setup.processes.rank == 1:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("stripes")
def test_whose_loss_is_large_is_known_to_one_process_alone() -> None:
    with pytest.raises(RequestError, match="--hardest is for one process"):
        preparation.prepare(make_config("digits", patch_size=2, hardest=0.3, device="cpu"), Processes(0, 2))


def test_several_processes_ask_one_another_rarely(stripes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange in each step would wait for the slowest in each step; alone, a process is asked at every one."""
    setup = preparation.prepare(make_config("digits", patch_size=2, d_model=12, n_heads=2, batch_size=2, device="cpu"))
    questions: list[bool] = []
    monkeypatch.setattr(Processes, "any_of", lambda _, *hold: (questions.append(True), hold)[1])
    for world, expected in ((1, 44), (2, 2)):
        questions.clear()
        run = Run.start(setup)
        run.setup = replace(setup, processes=Processes(0, world))
        pace = Pace(lambda: None)
        pace.next = math.inf
        assert run.epoch(1, Display(Console(quiet=True), 1, 1), StopOnInterrupt(), pace)
        assert len(questions) == expected


@pytest.mark.thorough
@NEEDS_FORK
def test_torchrun_ends_when_a_process_dies_and_can_be_resumed(vitcourse: Command, tmp_path: Path) -> None:
    """The real thing: torchrun, the digits, SIGKILL to the process that doesn't write."""
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["train", "digits", "--epochs=15", "--batch-size=256", "--device=cpu", "--threads=1", f"--output={run}"]
    with subprocess.Popen(
        [*torchrun, "-m", "vitcourse", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        deadline = time.monotonic() + 180
        while not figures(run):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(second_of(process.pid), signal.SIGKILL)
        _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert "(SIGKILL)" in err
    assert not (run / "result.json").exists()
    resumed = vitcourse(*words, "--resume")
    assert (resumed.code, "resumed from" in resumed.out) == (0, True)
    assert len(figures(run)) == 15


def second_of(launcher: int) -> int:
    """The process of rank 1 among a launcher's children."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="utf-8").split()
    for child in children:
        if "\0RANK=1\0" in "\0" + Path(f"/proc/{child}/environ").read_text(encoding="utf-8"):
            return int(child)
    raise AssertionError(children)


@pytest.mark.parametrize(("n", "world"), [(13, 2), (13, 5), (2, 3), (12, 4)])
def test_shares_cover_everything_once_and_evenly(n: int, world: int) -> None:
    shares = [Processes(rank, world).share(n) for rank in range(world)]
    assert [place for share in shares for place in range(n)[share]] == list(range(n))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_the_shares_of_a_batch_are_the_batch_of_one_process() -> None:
    images, labels = torch.rand(29, 1, 3, 5), torch.arange(29)
    config = make_config("seed", batch_size=7, seed=3)

    def batches(processes: Processes) -> Batches:
        return Batches(images, labels, torch.zeros(1), torch.ones(1), config, processes)

    parts = zip(*(batches(Processes(rank, 3)) for rank in range(3)), strict=True)
    for (whole, of_whole), shares in zip(batches(Processes()), parts, strict=True):
        n_images = len(whole)
        # The last batch has one image; a process without one of its own repeats what is there.
        torch.testing.assert_close(torch.cat([images for images, _ in shares])[-n_images:], whole)
        torch.testing.assert_close(torch.cat([labels for _, labels in shares])[-n_images:], of_whole)
