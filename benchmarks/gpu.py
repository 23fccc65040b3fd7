"""Everything of this course that a GPU must show, in one command of at most nine minutes; into results/gpu.json.

The ladder and the race with other people's models go into files of their own, which the book reads: steps-gpu.json and
throughput-gpu.json. Each part is a process of its own with a time of its own; what it has measured so far is kept,
whatever becomes of it, and the parts that tell most come first. Needs no network: MNIST is read from VITCOURSE_DATA.

In the course's folder, type: python benchmarks/gpu.py
The same at sizes that show nothing, on a CPU: python benchmarks/gpu.py --small --device cpu --output FILE
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitcourse.training.runs import provenance, write_atomically

RESULTS = Path(__file__).parent / "results"
SECONDS = 540.0
# Reading torch, and stopping a part that takes too long, is part of its time.
LEAST_SECONDS = 10.0
NEVER = float("inf")


@dataclass(frozen=True)
class Asked:
    """Where it is measured, and whether only to see that it can be."""

    device: str
    small: bool
    folder: Path

    def config(self, preset: str, **changes: Any) -> Any:
        """A preset, on the device; small, it is on the digits and has next to no parameters."""
        from vitcourse.training.presets import PRESETS, make_config

        if self.small:
            tiny = {"data": "digits", "image_size": 8, "crop": 8, "patch_size": 4, "d_model": 12, "n_layers": 1}
            tiny |= {"n_heads": 2, "batch_size": 300, "epochs": 2, "threads": 1, "compile": "off"}
            fits = {name: value for name, value in tiny.items() if getattr(PRESETS[preset], name) is not None}
            changes = {**fits, **{name: value for name, value in changes.items() if name not in tiny}}
        return make_config(preset, **{"device": self.device, **changes})

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to be asked."""
        return self.device == "cuda"


Measure = Callable[[Asked], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Part:
    """One thing to measure: it gives what it knows so far, again and again, and has so many seconds."""

    seconds: float
    measure: Measure
    file: str = ""


def main(arguments: list[str] | None = None) -> None:
    """Measure part after part; print and write what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="sizes that show nothing, to see that it runs")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all of it")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--one", nargs=2, metavar=("PART", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        only(asked.one[0], Asked(asked.device, asked.small, asked.output.parent), Path(asked.one[1]))
        return
    if asked.small and asked.output.parent.resolve() == RESULTS.resolve():
        parser.error("--small shows nothing that should stand among the results; type --output with another folder")
    end = time.monotonic() + asked.seconds
    parts: dict[str, Any] = {}
    for name in asked.parts:
        # On a machine that others use too, reading torch alone may take half a minute.
        seconds = min(PARTS[name].seconds * (10 if asked.small else 1), end - time.monotonic())
        print(f"{name}: at most {max(seconds, 0):.0f} s", flush=True)
        parts[name] = run(name, asked, seconds)
        print(json.dumps(parts[name], ensure_ascii=False)[:600], flush=True)
        keep(asked, parts)


def run(name: str, asked: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """A part in a process of its own: what it gave last, its seconds, and how it ended if not well."""
    if seconds < LEAST_SECONDS:
        return {"ended": "no time was left"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--device", asked.device, "--output", str(asked.output)]
        command += ["--one", name, str(file), *(["--small"] if asked.small else [])]
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=os.name == "posix"
        )
        ended = ""
        try:
            _, said = process.communicate(timeout=seconds)
            if process.returncode:
                ended = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            ended = f"stopped after {seconds:.0f} s"
            # A compiler's processes, too.
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            process.communicate()
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        found["seconds"] = round(time.monotonic() - started, 1)
        return {**found, "ended": ended} if ended else found


def only(name: str, asked: Asked, file: Path) -> None:
    """One part, in this process: whatever it gives is written at once."""
    for found in PARTS[name].measure(asked):
        write_atomically(file, json.dumps(found, ensure_ascii=False).encode())


def keep(asked: argparse.Namespace, parts: dict[str, Any]) -> None:
    """Write all that was measured: what has a file of its own there, the rest into the one asked for."""
    origin = provenance(f"python benchmarks/gpu.py --device {asked.device}{' --small' if asked.small else ''}")
    card = parts.get("device", {}).get("card")
    if card:
        origin["machine"]["gpu"] = card
    own: dict[str, Any] = {}
    for name, found in parts.items():
        file = PARTS[name].file
        if file and "provenance" in found:
            record = {**found, "provenance": origin}
            write_atomically(asked.output.parent / file, _json(record))
            found = {key: found[key] for key in ("seconds", "ended") if key in found} | {"file": file}
        own[name] = found
    result = {
        "what": "all that the course needs a GPU for, each part in a process of its own, in the order of the parts",
        "device": card or asked.device,
        **({"trial": True} if asked.small else {}),
        "parts": own,
        "provenance": origin,
    }
    write_atomically(asked.output, _json(result))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


# The parts


def device(asked: Asked) -> Iterator[dict[str, Any]]:
    """What it is, and what it can: products of large matrices, and copies."""
    import torch

    side = 64 if asked.small else 8192
    found: dict[str, Any] = {"card": "cpu", "torch": torch.__version__, "cuda": torch.version.cuda}
    if asked.on_gpu:
        about = torch.cuda.get_device_properties(0)
        found |= {
            "card": about.name,
            "gib": round(about.total_memory / 2**30, 1),
            "capability": [about.major, about.minor],
        }
    yield found
    for name, dtype, precision in (
        ("bf16", torch.bfloat16, "highest"), ("tf32", torch.float32, "high"), ("float32", torch.float32, "highest")
    ):  # fmt: skip
        torch.set_float32_matmul_precision(precision)
        left, right = (torch.randn(side, side, device=asked.device, dtype=dtype) for _ in range(2))
        seconds = _seconds(lambda left=left, right=right: torch.mm(left, right), asked)
        found[f"{name}_tflops"] = round(2 * side**3 / seconds / 1e12, 3)
        yield found
    numbers = torch.empty(side * side, device=asked.device)
    found["copy_gb_per_second"] = round(2 * numbers.nbytes / _seconds(lambda: numbers.clone(), asked) / 1e9, 1)
    yield found


def correct(asked: Asked) -> Iterator[dict[str, Any]]:
    """Whether it computes the same: as a CPU, recorded and not, in bf16, stopped and gone on; and waits for nothing."""
    import torch

    from vitcourse.training.graph import nothing_waits
    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare

    recipe = {"compile": "off", "epochs": 2, "seed": 3}
    found: dict[str, Any] = {}
    n_steps = 8 if asked.small else 40

    def stepped(n: int, state: dict[str, Any] | None = None, **changes: Any) -> tuple[Run, float]:
        run = Run.start(prepare(asked.config("mnist-gpu-fast", **{**recipe, **changes})))
        if state:
            run.load_state_dict(state)
        steps = run.endless()
        loss = torch.zeros(())
        for _ in range(n):
            loss = next(steps)
        return run, float(loss)

    def compare(one: Run, other: Run) -> dict[str, Any]:
        pairs = list(zip(one.kept.parameters(), other.kept.parameters(), strict=True))
        return {
            "same_bits": all(torch.equal(a, b) for a, b in pairs),
            "largest_difference": max(float((a - b).abs().max()) for a, b in pairs),
        }

    def beside_cpu() -> dict[str, Any]:
        run, _ = stepped(1)
        torch.set_float32_matmul_precision("highest")
        images = run.setup.test_images[:200]
        with torch.no_grad():
            here = run.model.eval()(images).cpu()
            there = run.model.cpu()(images.cpu())
        return {"largest_difference": float((here - there).abs().max())}

    def without_waiting() -> dict[str, Any]:
        run, _ = stepped(2, graph=False)
        index = next(run.batches.indices())
        with nothing_waits(wanted=asked.on_gpu):
            run.step(*run.batches.made(index))
        return {"holds": True}

    def stopped() -> dict[str, Any]:
        state = stepped(n_steps // 2)[0].state_dict()
        return compare(stepped(n_steps)[0], stepped(n_steps - n_steps // 2, state)[0])

    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "logits beside a CPU's": beside_cpu,
        "a step waits for nothing": without_waiting,
        "recorded and not": lambda: compare(stepped(n_steps, graph=True)[0], stepped(n_steps, graph=False)[0]),
        "the same twice": lambda: compare(stepped(n_steps)[0], stepped(n_steps)[0]),
        "stopped and gone on": stopped,
        "loss in TF32 and in bf16": lambda: {amp: stepped(n_steps, amp=amp)[1] for amp in ("off", "bf16")},
    }
    for question, answer in questions.items():
        found[question] = _or_failure(answer)
        yield found


def seeds(preset: str, n: int, targets: tuple[float, ...] = (0.98, 0.99, 0.995)) -> Measure:
    """A preset trained with each of several seeds: its accuracy epoch by epoch, and the seconds to each target."""

    def measure(asked: Asked) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {"preset": preset, "runs": []}
        for seed in range(n):
            run: dict[str, Any] = {"seed": seed}
            found["runs"].append(run)
            for state in trained(asked.config(preset, seed=seed)):
                run.update(state)
                run["to"] = {
                    f"{target:.1%}": next(
                        (epoch["training_seconds"] for epoch in run["epochs"] if epoch["accuracy"] >= target), None
                    )
                    for target in targets
                }
                yield found

    return measure


def trained(config: Any) -> Iterator[dict[str, Any]]:
    """A run, epoch by epoch. Only the training is timed, and apart from it what comes before."""
    from rich.console import Console

    from vitcourse.training.checkpoints import Pace
    from vitcourse.training.display import PlainDisplay
    from vitcourse.training.interrupt import StopOnInterrupt
    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare
    from vitcourse.training.train import rehearsed

    started = time.perf_counter()
    quiet = Console(quiet=True)
    setup, rehearsal = rehearsed(prepare(config), quiet)
    run, pace = Run.start(setup), Pace(lambda: None)
    pace.next = NEVER
    found: dict[str, Any] = {
        "device": setup.device_name,
        "parameters": rehearsal.parameters,
        "compile": setup.config.compile,
        "graph": setup.config.graph and setup.records,
        "seconds_before": round(time.perf_counter() - started, 2),
        "epochs": [],
    }
    training, started = 0.0, time.perf_counter()
    for number in range(1, config.epochs + 1):
        run.epoch(number, PlainDisplay(quiet, config.epochs), StopOnInterrupt(), pace)
        epoch = run.end_epoch(number)
        training += epoch.seconds
        found["epochs"].append(
            {"loss": round(epoch.loss, 5), "accuracy": epoch.accuracy, "training_seconds": round(training, 3)}
        )
        found["milliseconds_a_step"] = round(1000 * training / run.steps_done, 4)
        found["seconds_with_measuring"] = round(time.perf_counter() - started, 3)
        found["accuracy"] = epoch.accuracy
        yield found


def ladder(asked: Asked) -> Iterator[dict[str, Any]]:
    """The ladder of speed-ups, one round after the other."""
    from rich.console import Console

    from vitcourse.training import ladder as rungs

    rungs.SECONDS_A_TURN = 0.4
    if asked.small:
        rungs.SECONDS_A_TURN = 0.01
        rungs.RUNGS = [rung for rung in rungs.RUNGS if "compile" not in rung[1]]
    yield from rungs.climb(asked.config("mnist-gpu-fast"), 1 if asked.small else 7, Console(quiet=True))


def steps(preset: str, *batch_sizes: int, **changes: Any) -> Measure:
    """How fast a preset's steps are at several batch sizes, what share of the peak that is, and the memory."""

    def measure(asked: Asked) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {"preset": preset, "sizes": []}
        for batch_size in batch_sizes:
            found["sizes"].append(
                _or_failure(lambda batch_size=batch_size: timed_steps(asked, preset, batch_size, changes))
            )
            yield found

    return measure


def timed_steps(asked: Asked, preset: str, batch_size: int, changes: dict[str, Any]) -> dict[str, Any]:
    """The steps of one size."""
    import torch
    from contenders import Size, data_sheet

    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare

    setup = prepare(asked.config(preset, batch_size=batch_size, **changes))
    config, run = setup.config, Run.start(setup)
    started, losses = time.perf_counter(), run.endless()
    for _ in range(1 if asked.small else 6):
        next(losses)
    float(next(losses))
    found: dict[str, Any] = {
        "batch_size": config.batch_size,
        "first_steps_seconds": round(time.perf_counter() - started, 2),
    }
    n, started = 0, time.perf_counter()
    while n < 2 or time.perf_counter() - started < (0.1 if asked.small else 3.0):
        loss = next(losses)
        n += 1
        if n % 10 == 0:
            float(loss)  # or the queue alone would be timed
    float(loss)
    seconds = (time.perf_counter() - started) / n
    found |= {
        "milliseconds_a_step": round(1000 * seconds, 3),
        "images_per_second": round(config.batch_size / seconds, 1),
    }
    if asked.on_gpu:
        found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if config.mlp_ratio == 4:
            size = Size(
                setup.image_size[0], config.patch_size, setup.dataset.channels, len(setup.dataset.classes),
                config.d_model, config.n_layers, config.n_heads, 0, 0,
            )  # fmt: skip
            done, promised = size.flops * config.batch_size / seconds, data_sheet(torch.cuda.get_device_name())
            found["tflops"] = round(done / 1e12, 1)
            if promised:
                found["share_of_data_sheet"] = round(done / promised, 4)
    return found


def profile(asked: Asked) -> Iterator[dict[str, Any]]:
    """Five steps of mnist-gpu-fast under torch's profiler, as they are and recorded: what is started and takes long."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare

    found: dict[str, Any] = {}
    for name, graph in (("one by one", False), ("recorded", True)):
        run = Run.start(prepare(asked.config("mnist-gpu-fast", graph=graph)))
        losses = run.endless()
        for _ in range(6):
            float(next(losses))
        with profiled(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if asked.on_gpu else [])]) as seen:
            for _ in range(5):
                loss = next(losses)
            float(loss)
        events = list(seen.key_averages())
        launches = {
            e.key: e.count / 5 for e in events if e.key.startswith(("cudaLaunch", "cudaGraphLaunch", "cuLaunch"))
        }
        time_of = "self_device_time_total" if asked.on_gpu else "self_cpu_time_total"
        slowest = sorted(events, key=lambda event: -getattr(event, time_of))[:12]
        found[name] = {
            "launches_a_step": launches,
            "microseconds_a_step": round(sum(getattr(event, time_of) for event in events) / 5, 1),
            "slowest": [[e.key[:90], e.count / 5, round(getattr(e, time_of) / 5, 1)] for e in slowest],
        }
        yield found


def original(asked: Asked) -> Iterator[dict[str, Any]]:
    """The original's recipe as most code has it: image by image through a DataLoader, the loss read at every step."""
    from vitcourse.training.ladder import GROUND

    found = timed_steps(asked, "seed", 128, GROUND)
    yield {**found, "seconds_an_epoch": round(60_000 / found["images_per_second"], 1)}


def race(asked: Asked) -> Iterator[dict[str, Any]]:
    """ViT-B/16 beside other people's, forward and backward."""
    import throughput

    file = asked.folder / "throughput-gpu.json"
    size = ["--size", "a", "--batch", "2", "--steps", "1", "--no-compiled"] if asked.small else ["--size", "c"]
    contenders = ["this course", "torchvision", "timm", "this course, fused kernels"]
    yield {"file": file.name}
    throughput.main(
        [*size, "--rounds", "1" if asked.small else "5", "--device", asked.device, "--output", str(file),
         "--contenders", *(contenders[:2] if asked.small else contenders)]
    )  # fmt: skip


def _seconds(step: Callable[[], Any], asked: Asked) -> float:
    """Of one call, after a few, over several in a row."""
    import torch

    wait = torch.cuda.synchronize if asked.on_gpu else (lambda: None)
    for n in (3, 20):
        wait()
        started = time.perf_counter()
        for _ in range(n):
            step()
        wait()
    return (time.perf_counter() - started) / n


def _or_failure(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What came out, or why nothing did: one question must not bring down the next."""
    try:
        return answer()
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}


# By value: what comes first is measured even if what comes last is not. Together no more than SECONDS.
PARTS: dict[str, Part] = {
    "device": Part(25, device),
    "correct": Part(60, correct),
    "mnist-gpu-fast": Part(75, seeds("mnist-gpu-fast", 3)),
    "mnist-gpu": Part(80, seeds("mnist-gpu", 1)),
    "vit-b16": Part(70, steps("vit-b16", 128, 256)),
    "ladder": Part(80, ladder, "steps-gpu.json"),
    "race": Part(60, race),
    "profile": Part(30, profile),
    "cifar10": Part(25, steps("cifar10", 512, data="random", image_size=32)),
    "digits": Part(15, seeds("digits", 1, (0.95,))),
    "original": Part(20, original),
}


if __name__ == "__main__":
    main()
