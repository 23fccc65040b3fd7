"""The speed of the course's model beside its peers', eager and compiled; into results/throughput.json.

A forward and a backward pass, as in training, of models of the same measures. "This course" is the model as its lines
are written, "fused kernels" what `vitcourse train` makes of it by default: equal logits and gradients with less work.

In the course's folder, type: uv sync --group bench, then: python benchmarks/throughput.py
Only some sizes: --size a b. On a GPU, which adds ViT-B/16 (size c) and the share of the bf16 peak: --device cuda.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from contenders import CONTENDERS, FORMULA, SIZES, Size, data_sheet
from rich.console import Console
from rich.table import Table
from torch import nn

from vitcourse.training import engine
from vitcourse.training.runs import provenance, write_atomically

RESULTS = Path(__file__).parent / "results"
NOT_MEASURED = "not measured on a GPU yet"
OURS = "this course"
FUSED = "this course, fused kernels"
PEAK_SIDE = 8192
WARM_UP = 2


@dataclass
class Entry:
    """A model in the race: its step, and how long each round's steps took, on the clock and of the processor."""

    name: str
    compiled: bool
    step: Callable[[], None] | None = None
    parameters: int = 0
    failed: str = ""
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> None:
    """Measure what was asked for; print a table for each size, and write all of them down."""
    asked = parse(arguments)
    device = torch.device(asked.device)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    sizes: dict[str, Any] = {} if device.type == "cuda" else {"c": {"what": NOT_MEASURED}}
    for name in asked.size:
        for table in measure(name, asked):
            sizes[name] = table
            # After each: what ends a benchmark early must not take with it what was measured.
            write(asked, device, sizes)
        show(Console(highlight=False), name, sizes[name])


def write(asked: argparse.Namespace, device: torch.device, sizes: dict[str, Any]) -> None:
    """All that was measured so far, into the file."""
    cuda = device.type == "cuda"
    turns = "one contender after the other" if cuda else "all contenders in turns, in a new order each round"
    result: dict[str, Any] = {
        "what": (
            f"forward and backward passes, dropout 0, {'bf16 autocast' if cuda else 'float32'}; {turns}, medians of "
            f"{asked.rounds} rounds, "
            + (
                "by CUDA events"
                if cuda
                else "in CPU seconds. Others' work on the machine, where there is some, makes the rates lower than on "
                "a quiet one; the turns keep the ratios fair, which are medians of the rounds' own"
            )
        ),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "flops": FORMULA,
        "model_flops_utilisation": "in each row, of the measured peak and of the data sheet's"
        if cuda
        else NOT_MEASURED,
        "sizes": sizes,
        "provenance": with_peers(provenance("python benchmarks/throughput.py " + " ".join(asked.typed))),
    }
    if cuda:
        result["provenance"]["machine"]["gpu"] = result["device"]
    write_atomically(asked.output, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=sorted(SIZES), help="a and b, and c on a GPU")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=0, help="steps in a turn; by default about 0.3 seconds of them")
    parser.add_argument("--batch", type=int, default=0, help="images in a step; by default the size's own number")
    parser.add_argument("--threads", type=int, default=1, help="on the CPU; 0 leaves it to torch")
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args(arguments)
    asked.size = asked.size or (["a", "b", "c"] if asked.device == "cuda" else ["a", "b"])
    if "c" in asked.size and asked.device != "cuda":
        parser.error(f"size c: {NOT_MEASURED}; it takes --device cuda")
    asked.output = asked.output or RESULTS / ("throughput-gpu.json" if asked.device == "cuda" else "throughput.json")
    named = [("--size", asked.size), ("--device", [asked.device]), ("--rounds", [asked.rounds])]
    asked.typed = [str(word) for option, words in named for word in (option, *words)]
    asked.typed += ["--threads", str(asked.threads), "--compiled" if asked.compiled else "--no-compiled"]
    return asked


def ways(asked: argparse.Namespace) -> tuple[bool, ...]:
    """Eager, and compiled too if it is asked for."""
    return (False, True) if asked.compiled else (False,)


def with_peers(origin: dict[str, Any]) -> dict[str, Any]:
    """Where the numbers come from, with the versions of the peers that no one else asks for."""
    for name in ("timm", "transformers", "vit-pytorch"):
        try:
            origin["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            origin["versions"][name] = "not installed"
    return origin


def measure(name: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All contenders at one size: the table, whenever there is more in it.

    On a CPU they take turns, in a new order each round, since others work there too. On a GPU each is measured alone
    and then leaves the memory to the next.
    """
    size, device = SIZES[name], torch.device(asked.device)
    cuda = device.type == "cuda"
    batch_size = asked.batch or (size.gpu_batch_size if cuda else size.batch_size)
    images = torch.randn(batch_size, size.channels, size.image_size, size.image_size, device=device)
    labels = torch.randint(size.n_classes, (batch_size,), device=device)
    console = Console(highlight=False)
    # What was compiled at another size would make the compiler generalise over sizes.
    torch.compiler.reset()
    entries: list[Entry] = []
    about: dict[str, Any] = {"size": asdict(size), "batch_size": batch_size}
    if cuda:
        entries.append(Entry("peak", compiled=False, step=peak_step(device)))
        race(entries, 1, asked.rounds, device)
    ways_of_all = [(contender, compiled) for contender in asked.contenders for compiled in ways(asked)]
    if cuda:  # first what takes no minute to compile
        ways_of_all.sort(key=lambda way: way[1])
    for contender, compiled in ways_of_all:
        console.print(f"size {name}: {contender}{', to be compiled' if compiled else ''}")
        entries.append(prepare(contender, compiled, size, images, labels))
        console.print(entries[-1].failed, end="")
        if cuda:
            race(entries[-1:], asked.steps, asked.rounds, device)
            entries[-1].step = None
            torch.compiler.reset()  # what was compiled holds the model
            torch.cuda.empty_cache()
            yield {**about, **rows(entries, size, batch_size, device)}
    if not cuda:
        running = [entry for entry in entries if entry.step]
        about["steps_in_a_turn"] = race(running, asked.steps, asked.rounds, device)
        yield {**about, **rows(entries, size, batch_size, device)}


def race(entries: list[Entry], steps: int, rounds: int, device: torch.device) -> int:
    """Round after round, each entry once, in a new order; how many steps made a turn."""
    running = [entry for entry in entries if entry.step]
    if not running:
        return 0
    steps = steps or steps_in(0.3, running[0], device)
    order = random.Random(0)
    for _ in range(rounds):
        for entry in order.sample(running, len(running)):
            try:
                clock, cpu = timed(entry, steps, device)
            except Exception as error:  # memory that was enough before
                entry.failed, entry.step = one_line(error), None
                running.remove(entry)
                continue
            entry.clock.append(clock)
            entry.cpu.append(cpu)
    return steps


def one_line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def prepare(name: str, compiled: bool, size: Size, images: torch.Tensor, labels: torch.Tensor) -> Entry:
    """A contender, warmed up. What it can't do stands in its entry as its failure."""
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
        entry.failed = one_line(error)
    else:
        entry.step = step
    return entry


def compiled_as_trained(model: nn.Module) -> nn.Module:
    """As `vitcourse train` compiles on this device; on a GPU the passes are in bf16."""
    device = next(model.parameters()).device
    return engine.compiled(model, "default", device, in_float32=device.type == "cpu")


def peak_step(device: torch.device) -> Callable[[], None]:
    """A product of two large bf16 matrices: as fast as the GPU gets."""
    left, right = (torch.randn(PEAK_SIDE, PEAK_SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))

    def step() -> None:
        torch.mm(left, right)

    step()
    return step


def steps_in(seconds: float, entry: Entry, device: torch.device) -> int:
    """How many of an entry's steps fill this time."""
    return max(1, round(seconds / timed(entry, 1, device)[0]))


def timed(entry: Entry, steps: int, device: torch.device) -> tuple[float, float]:
    """Seconds of a step, on the clock (a GPU's own if there is one) and of the processor, over several in a row."""
    assert entry.step is not None
    cuda = device.type == "cuda"
    if cuda:
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        before.record()
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        entry.step()
    seconds = time.perf_counter() - clock, time.process_time() - cpu
    if cuda:
        after.record()
        torch.cuda.synchronize(device)
        seconds = before.elapsed_time(after) / 1000, seconds[1]
    return seconds[0] / steps, seconds[1] / steps


def rows(entries: list[Entry], size: Size, batch_size: int, device: torch.device) -> dict[str, Any]:
    """One row for each contender, eager and compiled, and on a GPU the peak."""
    cuda = device.type == "cuda"

    def times(entry: Entry) -> list[float]:
        # Others' work on the machine stretches the clock's seconds, and hardly the processor's.
        return entry.clock if cuda else entry.cpu

    found: dict[str, Any] = {"rows": []}
    peak = next((2 * PEAK_SIDE**3 / statistics.median(e.clock) for e in entries if e.name == "peak"), None)
    # By default a run on a CPU isn't compiled, but for a very long one; the presets for a GPU are.
    default = next((e for e in entries if e.name == FUSED and e.compiled == cuda), None)
    promised = data_sheet(torch.cuda.get_device_name(device)) if cuda else None
    if peak:
        found["peak_tflops"] = round(peak / 1e12, 1)
    for entry in entries:
        if entry.name == "peak":
            continue
        row: dict[str, Any] = {"contender": entry.name, "compiled": entry.compiled, "parameters": entry.parameters}
        base = next((e for e in entries if e.name == OURS and e.compiled == entry.compiled), None)
        if entry.failed:
            row["failed"] = entry.failed
        else:
            row["images_per_second"] = round(batch_size / statistics.median(entry.clock), 1)
            if not cuda:
                row["images_per_cpu_second"] = round(batch_size / statistics.median(entry.cpu), 1)
            if base and not base.failed:
                pairs = zip(times(base), times(entry), strict=True)
                row["speed_beside_ours"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
            if default and not default.failed:
                pairs = zip(times(default), times(entry), strict=True)
                row["default_beside_it"] = round(statistics.median(theirs / ours for ours, theirs in pairs), 3)
            done = size.flops * batch_size / statistics.median(entry.clock)
            if peak:
                row["model_flops_utilisation"] = round(done / peak, 3)
            if promised:
                row["share_of_data_sheet"] = round(done / promised, 3)
        found["rows"].append(row)
    return found


def show(console: Console, name: str, table: dict[str, Any]) -> None:
    """Print the rows of one size."""
    columns = {
        "images/s": "images_per_second",
        "images a CPU second": "images_per_cpu_second",
        "speed beside ours": "speed_beside_ours",
        "train's default beside it": "default_beside_it",
        "share of the measured peak": "model_flops_utilisation",
        "of the data sheet's": "share_of_data_sheet",
    }
    used = {title: key for title, key in columns.items() if any(key in row for row in table["rows"])}
    shown = Table("contender", "", "parameters", *used, title=f"size {name}")
    for row in table["rows"]:
        figures = [row["failed"]] if "failed" in row else [f"{row[key]:,}" for key in used.values() if key in row]
        shown.add_row(
            row["contender"], "compiled" if row["compiled"] else "eager", f"{row['parameters']:,}", *figures
        )  # fmt: skip
    console.print(shown)


if __name__ == "__main__":
    main()
