"""What benchmarks/gpu.py measures, part by part: each gives what it knows so far, again and again."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """Where it is measured, and whether only to see that it can be."""

    device: str
    small: bool
    folder: Path

    def config(self, preset: str, **changes: Any) -> Any:
        """A preset, on the device; small, it is on the digits and has next to no parameters."""
        from vitcourse.training.configuration import make_config
        from vitcourse.training.presets import PRESETS

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

    setup = prepare(asked.config("mnist-gpu-fast", **recipe))

    def stepped(n: int, state: dict[str, Any] | None = None, **changes: Any) -> tuple[Run, float]:
        run = Run.start(replace(setup, config=replace(setup.config, **changes)))
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

    def by_deterministic_kernels() -> dict[str, Any]:
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            return compare(stepped(n_steps, graph=False)[0], stepped(n_steps, graph=False)[0])
        finally:
            torch.use_deterministic_algorithms(False)

    questions: dict[str, Callable[[], dict[str, Any]]] = {
        "logits beside a CPU's": beside_cpu,
        "a step waits for nothing": without_waiting,
        "recorded and not": lambda: compare(stepped(n_steps, graph=True)[0], stepped(n_steps, graph=False)[0]),
        "the same twice": lambda: compare(stepped(n_steps)[0], stepped(n_steps)[0]),
        "the same twice, by deterministic kernels": by_deterministic_kernels,
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
    from vitcourse.training.display import Display
    from vitcourse.training.interrupt import StopOnInterrupt
    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare
    from vitcourse.training.train import rehearsed

    started = time.perf_counter()
    quiet = Console(quiet=True)
    setup, rehearsal = rehearsed(prepare(config), quiet)
    run, pace = Run.start(setup), Pace(lambda: None)
    pace.next = float("inf")
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
        run.epoch(number, Display(quiet, config.epochs, run.steps), StopOnInterrupt(), pace)
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
    from contenders import data_sheet, size_of

    from vitcourse.training.loop import Run
    from vitcourse.training.preparation import prepare

    setup = prepare(asked.config(preset, batch_size=batch_size, **changes))
    if asked.on_gpu:
        torch.cuda.reset_peak_memory_stats()
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
            size = size_of(setup)
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
    from vitcourse.training.ladder import GROUND, settings_of

    found = timed_steps(asked, "seed", 128, settings_of(GROUND))
    yield {**found, "seconds_an_epoch": round(60_000 / found["images_per_second"], 1)}


def race(asked: Asked) -> Iterator[dict[str, Any]]:
    """ViT-B/16 beside other people's, forward and backward."""
    import throughput

    file = asked.folder / "throughput-gpu.json"
    contenders = ["this course, fused kernels", "timm", "torchvision", "this course"]
    small: dict[str, Any] = {"size": ["a"], "batch": 2, "steps": 1, "rounds": 1, "compiled": False}
    small["contenders"] = contenders[:2]
    yield {"file": file.name}
    # What is kept names the command that does this alone, and not the call of this process.
    sys.argv[1:] = ["--device", asked.device, "--size", "c", "--rounds", "5"]
    sys.argv += [word for name in contenders for word in ("--contenders", name)]
    throughput.main(
        device=asked.device,
        output=file,
        **(small if asked.small else {"size": ["c"], "rounds": 5, "contenders": contenders}),
    )


def _seconds(step: Callable[[], Any], asked: Asked) -> float:
    """Of one call, after a few, over several in a row."""
    import torch
    from throughput import timed

    return [timed(step, n, torch.device(asked.device))[0] for n in (3, 20)][1]


def _or_failure(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What came out, or why nothing did: one question must not bring down the next."""
    try:
        return answer()
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
