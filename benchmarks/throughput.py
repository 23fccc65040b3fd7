"""The speed of the course's model beside its peers', eager and compiled; into results/throughput.json.

A forward and a backward pass, as in training, of models of the same measures. "This course" is the model as its lines
are written, "fused kernels" what `vitcourse train` makes of it by default: equal logits and gradients with less work.

In the course's folder, type: uv sync --group bench, then: python benchmarks/throughput.py
Only one size: --size a. On a GPU, which adds ViT-B/16 (size c) and the share of the data sheet's peak: --device cuda.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import typer
from contenders import CONTENDERS, FORMULA, SIZES, Size, data_sheet
from shared import RESULTS, keep, show
from torch import nn

from vitcourse.errors import first_line
from vitcourse.training.ladder import in_turns
from vitcourse.training.steps import compiled as compiled_by_us

OURS = "this course"
FUSED = "this course, fused kernels"
WARM_UP = 2
NOISE = (
    "in CPU seconds. Others' work on the machine, where there is some, makes the rates lower than on a quiet one; the "
    "turns keep the ratios fair, which are medians of the rounds' own"
)


@dataclass
class Entry:
    """A model in the race: its step, and how long each round's steps took, on the clock and of the processor."""

    name: str
    compiled: bool
    step: Callable[[], object] | None = None
    parameters: int = 0
    failed: str = ""
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main(
    size: list[str] | None = None,
    device: str = "cpu",
    rounds: int = 11,
    compiled: bool = True,
    contenders: list[str] | None = None,
    output: Path | None = None,
) -> None:
    """Measure at each size (by default a and b, and c on a GPU); print and write all of it."""
    cuda = device == "cuda"
    torch.set_num_threads(1)
    ways = [(name, later) for name in contenders or CONTENDERS for later in (False, True)[: 1 + compiled]]
    if cuda:  # first what takes no minute to compile
        ways.sort(key=lambda way: way[1])
    sizes: dict[str, Any] = {}
    turns = "one contender after the other" if cuda else "all contenders in turns, in a new order each round"
    for name in size or ("abc" if cuda else "ab"):
        for table in measure(SIZES[name], torch.device(device), ways, rounds):
            sizes[name] = table
            # After each: what ends a benchmark early must not take with it what was measured.
            keep(
                "throughput",
                f"forward and backward passes, dropout 0, {'bf16 autocast' if cuda else 'float32'}; {turns}, medians "
                f"of {rounds} rounds, {'by CUDA events' if cuda else NOISE}",
                file=output or RESULTS / f"throughput{'-gpu' if cuda else ''}.json",
                device=torch.cuda.get_device_name() if cuda else "cpu",
                threads=torch.get_num_threads(),
                flops=FORMULA,
                sizes=sizes,
            )
    for name, found in sizes.items():
        show(found["rows"], f"size {name}")


def measure(
    size: Size, device: torch.device, ways: Sequence[tuple[str, bool]], rounds: int
) -> Iterator[dict[str, Any]]:
    """All contenders at one size: the table, whenever there is more in it.

    On a CPU they take turns, in a new order each round, since others work there too. On a GPU each is measured alone
    and then leaves the memory to the next.
    """
    cuda = device.type == "cuda"
    batch_size = size.gpu_batch_size if cuda else size.batch_size
    images = torch.randn(batch_size, size.channels, size.image_size, size.image_size, device=device)
    labels = torch.randint(size.n_classes, (batch_size,), device=device)
    about: dict[str, Any] = {"size": asdict(size), "batch_size": batch_size}
    entries: list[Entry] = []
    for together in [[way] for way in ways] if cuda else [ways]:
        # What was compiled before, at another size, would make the compiler generalise, and holds a model.
        torch.compiler.reset()
        fresh = [prepare(name, compiled, size, images, labels) for name, compiled in together]
        race(fresh, rounds, device)
        entries += fresh
        yield {**about, "rows": rows(entries, size.flops * batch_size, batch_size, device)}
        for entry in fresh:
            entry.step = None
        torch.cuda.empty_cache()


def race(entries: list[Entry], rounds: int, device: torch.device) -> None:
    """Round after round, each entry once, in a new order: as many steps as the first takes about 0.3 seconds for."""
    running = [(place, entry.step) for place, entry in enumerate(entries) if entry.step]
    steps = max(1, round(0.3 / timed(running[0][1], 1, device)[0])) if running else 0
    turns = {place: partial(timed, step, steps, device) for place, step in running}
    for place, found in in_turns(turns, rounds).items():
        entries[place].clock, entries[place].cpu = map(list, zip(*found, strict=True))


def prepare(name: str, compiled: bool, size: Size, images: torch.Tensor, labels: torch.Tensor) -> Entry:
    """A contender, warmed up. What it can't do stands in its entry as its failure."""
    print(f"{name}{', to be compiled' if compiled else ''}", flush=True)
    entry = Entry(name, compiled)
    device = images.device
    try:
        torch.manual_seed(0)
        model = CONTENDERS[name](size).to(device).train()
        entry.parameters = sum(parameter.numel() for parameter in model.parameters())
        # Ours as the engine does it, others' as their owners would.
        how = compiled_as_trained if name in (OURS, FUSED) else torch.compile
        forward = how(model) if compiled else model

        def step() -> None:
            model.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = forward(images)
            F.cross_entropy(logits.float(), labels).backward()

        for _ in range(WARM_UP):
            step()
    except ImportError:
        entry.failed = "not installed; type: uv sync --group bench"
    except Exception as error:  # a compiler may fail with anything, and the others still run
        entry.failed = f"{type(error).__name__}: {first_line(error)}"
    else:
        entry.step = step
    return entry


def compiled_as_trained(model: nn.Module) -> nn.Module:
    """As `vitcourse train` compiles on this device; on a GPU the passes are in bf16."""
    device = next(model.parameters()).device
    return compiled_by_us(model, "default", device, in_float32=device.type == "cpu")


def timed(step: Callable[[], object], steps: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a step, on the clock (a GPU's own if there is one) and of the processor, over several in a row."""
    cuda = device.type == "cuda"
    if cuda:
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        before.record()
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    seconds, processor = time.perf_counter() - clock, time.process_time() - cpu
    if cuda:
        after.record()
        torch.cuda.synchronize(device)
        seconds = before.elapsed_time(after) / 1000
    return seconds / steps, processor / steps


def rows(entries: list[Entry], flops: int, batch_size: int, device: torch.device) -> list[dict[str, Any]]:
    """One row for each contender, eager and compiled; on a GPU a step's flops give its share of the peak."""
    cuda = device.type == "cuda"
    raced = {(entry.name, entry.compiled): entry for entry in entries}
    promised = data_sheet(torch.cuda.get_device_name(device)) if cuda else None
    found = []
    for entry in entries:
        row: dict[str, Any] = {"contender": entry.name, "compiled": entry.compiled, "parameters": entry.parameters}
        found.append(row)
        if entry.failed:
            row["failed"] = entry.failed
            continue
        seconds = statistics.median(entry.clock)
        row["images_per_second"] = round(batch_size / seconds, 1)
        if not cuda:
            row["images_per_cpu_second"] = round(batch_size / statistics.median(entry.cpu), 1)
        # By default a run on a CPU isn't compiled, but for a very long one; the presets for a GPU are.
        ours, default = raced.get((OURS, entry.compiled)), raced.get((FUSED, cuda))
        if ours and not ours.failed:
            row["speed_beside_ours"] = beside(ours, entry, cuda)
        if default and not default.failed:
            row["default_beside_it"] = beside(entry, default, cuda)
        if promised:
            row["share_of_data_sheet"] = round(flops / seconds / promised, 3)
    return found


def beside(one: Entry, other: Entry, cuda: bool) -> float:
    """How many times as long as the other the one takes: the median of the rounds' ratios."""
    # Others' work on the machine stretches the clock's seconds, and hardly the processor's.
    pairs = zip(one.clock, other.clock, strict=True) if cuda else zip(one.cpu, other.cpu, strict=True)
    return round(statistics.median(a / b for a, b in pairs), 3)


if __name__ == "__main__":
    typer.run(main)
