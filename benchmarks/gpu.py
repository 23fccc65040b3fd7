"""Everything of this course that a GPU must show, in one command; into results/gpu.json.

The ladder and the race with other people's models are commands of their own, which are called, and whose files the book
reads: steps-gpu.json and throughput-gpu.json. What was measured is kept at once, and what fails costs only itself.
Needs no network: MNIST is read from VITCOURSE_DATA.

In the course's folder, type: python benchmarks/gpu.py
The same at sizes that show nothing, on a CPU: python benchmarks/gpu.py --small --device cpu --output FILE
"""

import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from contenders import data_sheet, size_of
from shared import RESULTS, keep, results_of

from vitcourse.files import read_json
from vitcourse.training.configuration import make_config
from vitcourse.training.graph import nothing_waits
from vitcourse.training.ladder import GROUND, settings_of, turn_of
from vitcourse.training.loop import Run
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import PRESETS, TrainConfig

TARGETS = (0.98, 0.99, 0.995)
LADDER = ["-m", "vitcourse", "bench", "steps", "mnist-gpu-fast", "--output", "benchmarks/results/steps-gpu.json"]
RACERS = [f"--contenders={name}" for name in ("this course, fused kernels", "timm", "torchvision", "this course")]
RACE = ["benchmarks/throughput.py", "--device=cuda", "--size=c", "--rounds=5", *RACERS]


@dataclass(frozen=True)
class Asked:
    """Where it is measured, and whether only to see that it can be."""

    device: str
    small: bool

    def config(self, preset: str, **changes: Any) -> TrainConfig:
        """A preset, on the device; small, it is on the digits and has next to no parameters."""
        if self.small:
            tiny = {"data": "digits", "image_size": 8, "crop": 8, "patch_size": 4, "d_model": 12, "n_layers": 1}
            tiny |= {"n_heads": 2, "batch_size": 300, "epochs": 2, "threads": 1, "compile": "off"}
            fits = {name: value for name, value in tiny.items() if getattr(PRESETS[preset], name) is not None}
            changes = {**fits, **{name: value for name, value in changes.items() if name not in tiny}}
        return make_config(preset, **{"device": self.device, **changes})


def main(
    device: str = "cuda", small: bool = False, parts: list[str] | None = None, output: Path = RESULTS / "gpu.json"
) -> None:
    """Measure part after part (all, or those named); write what came of each."""
    if small and output.parent.resolve() == RESULTS.resolve():
        raise typer.BadParameter("--small shows nothing that should stand among the results; type --output FILE too")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("there is no GPU here; to see that it runs: --small --device cpu --output FILE")
    # Of an earlier call on the same machine, what is not asked for again stays.
    known: dict[str, Any] = read_json(output).get("parts", {}) if parts else {}
    about: dict[str, Any] = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    if small:
        about["trial"] = True
    for name in parts or PARTS:
        torch.compiler.reset()  # it compiles the same lines only so many times
        for found in PARTS[name](Asked(device, small)):
            known[name] = found
            keep("gpu", "what the course needs a GPU for, part by part", file=output, **about, parts=known)
        print(name, known[name])


def or_failure(answer: Callable[..., dict[str, Any]], *asked: Any) -> dict[str, Any]:
    """What came out, or why nothing did: one question must not bring down the next."""
    try:
        return answer(*asked)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


def correct(asked: Asked) -> Iterator[dict[str, Any]]:
    """Whether it computes the same: as a CPU, recorded and not, in bf16, stopped and gone on; and waits for nothing."""
    n = 8 if asked.small else 40
    setup = prepare(asked.config("mnist-gpu-fast", compile="off", epochs=2, seed=3))
    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "logits beside a CPU's": lambda: beside_cpu(setup),
        "a step waits for nothing": lambda: without_waiting(setup),
        "recorded and not": lambda: compared(stepped(setup, n, graph=True), stepped(setup, n, graph=False)),
        "the same twice": lambda: compared(stepped(setup, n), stepped(setup, n)),
        "the same twice, by deterministic kernels": lambda: by_deterministic_kernels(setup, n),
        "stopped and gone on": lambda: compared(
            stepped(setup, n), stepped(setup, n - n // 2, stepped(setup, n // 2).state_dict())
        ),
        "loss in TF32 and in bf16": lambda: {
            amp: float(next(stepped(setup, n - 1, amp=amp).endless())) for amp in ("off", "bf16")
        },
    }
    found: dict[str, Any] = {}
    for question, answer in questions.items():
        found[question] = or_failure(answer)
        yield found


def stepped(setup: Setup, n: int, state: dict[str, Any] | None = None, **changes: Any) -> Run:
    """A run after so many steps, from its start or from a state on."""
    run = Run.start(setup.changed(**changes))
    if state:
        run.load_state_dict(state)
    for _, _ in zip(range(n), run.endless(), strict=False):
        pass
    return run


def compared(one: Run, other: Run) -> dict[str, Any]:
    """Whether two runs have the same weights, and how far they are apart."""
    pairs = list(zip(one.kept.parameters(), other.kept.parameters(), strict=True))
    return {
        "same_bits": all(torch.equal(a, b) for a, b in pairs),
        "largest_difference": max(float((a - b).detach().abs().max()) for a, b in pairs),
    }


def beside_cpu(setup: Setup) -> dict[str, Any]:
    """How far the logits are from those that the same model has on a CPU."""
    run, images = stepped(setup, 1), setup.test_images[:200]
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        here = run.model.eval()(images).cpu()
        there = run.model.cpu()(images.cpu())
    return {"largest_difference": float((here - there).abs().max())}


def without_waiting(setup: Setup) -> dict[str, Any]:
    """That nothing in a step waits for the GPU: whatever does raises an error."""
    run = stepped(setup, 2, graph=False)
    index = next(run.batches.indices())
    with nothing_waits(wanted=setup.device.type == "cuda"):
        run.step(*run.batches.made(index))
    return {"holds": True}


def by_deterministic_kernels(setup: Setup, n: int) -> dict[str, Any]:
    """The same twice, where torch is to choose kernels with a fixed order."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        return compared(stepped(setup, n, graph=False), stepped(setup, n, graph=False))
    finally:
        torch.use_deterministic_algorithms(False)


def seeds(asked: Asked, preset: str, n: int) -> Iterator[dict[str, Any]]:
    """A preset trained with each of several seeds: its accuracy epoch by epoch, and the seconds to each target."""
    runs: list[dict[str, Any]] = []
    for seed in range(n):
        runs.append({"seed": seed, **or_failure(trained, asked.config(preset, seed=seed))})
        yield {"preset": preset, "runs": runs}


def trained(config: TrainConfig) -> dict[str, Any]:
    """A run; only its training is timed, and apart from it what comes before."""
    started = time.perf_counter()
    (result,) = results_of(config).values()
    epochs, seconds = [], 0.0
    for epoch in result.epochs:
        seconds += epoch.seconds
        epochs.append({"loss": epoch.loss, "accuracy": epoch.accuracy, "training_seconds": round(seconds, 3)})
    return {
        "device": result.device,
        "parameters": result.parameters,
        # And after: the pictures, and the files.
        "seconds_before": round(time.perf_counter() - started - result.wall_seconds, 2),
        "epochs": epochs,
        "milliseconds_a_step": round(1000 * seconds / result.steps, 4),
        "accuracy": result.accuracy,
        "to": {
            f"{target:.1%}": next((e["training_seconds"] for e in epochs if e["accuracy"] >= target), None)
            for target in TARGETS
        },
    }


def steps(asked: Asked, preset: str, batch_sizes: Sequence[int], **changes: Any) -> Iterator[dict[str, Any]]:
    """How fast a preset's steps are at several batch sizes, what share of the peak that is, and the memory."""
    sizes: list[dict[str, Any]] = []
    for batch_size in batch_sizes:
        config = asked.config(preset, batch_size=batch_size, **changes)
        sizes.append(or_failure(timed_steps, config, 1 if asked.small else 7))
        yield {"preset": preset, "sizes": sizes}


def command(asked: Asked, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What another command measures, into a file of its own."""
    called = {"command": shlex.join(["python", *words])}
    yield called
    if not asked.small:
        done = subprocess.run([sys.executable, *words], stderr=subprocess.PIPE, text=True)
        yield called | ({"failed": done.stderr.strip().rpartition("\n")[2]} if done.returncode else {})


def timed_steps(config: TrainConfig, turns: int) -> dict[str, Any]:
    """The steps of one size, the median of so many turns."""
    setup = prepare(config)
    on_gpu, batch_size = setup.device.type == "cuda", config.batch_size
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    turn = turn_of(setup)
    speed = statistics.median(turn() for _ in range(turns))
    found: dict[str, Any] = {
        "batch_size": batch_size,
        "milliseconds_a_step": round(1000 * batch_size / speed, 3),
        "images_per_second": round(speed, 1),
    }
    if on_gpu:
        found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if promised := data_sheet(torch.cuda.get_device_name()):
            found["share_of_data_sheet"] = round(size_of(setup).flops * speed / promised, 4)
    return found


# By value: what comes first is measured even if what comes last is not. Each yields what is known so far.
PARTS: dict[str, Callable[[Asked], Iterator[dict[str, Any]]]] = {
    "correct": correct,
    "mnist-gpu-fast": partial(seeds, preset="mnist-gpu-fast", n=3),
    "mnist-gpu": partial(seeds, preset="mnist-gpu", n=1),
    "vit-b16": partial(steps, preset="vit-b16", batch_sizes=(256, 128)),
    "ladder": partial(command, words=LADDER),
    "race": partial(command, words=RACE),
    "cifar10": partial(steps, preset="cifar10", batch_sizes=[512], data="random", image_size=32),
    "digits": partial(seeds, preset="digits", n=1),
    "original": partial(steps, preset="seed", batch_sizes=[128], **settings_of(GROUND)),
}


if __name__ == "__main__":
    typer.run(main)
