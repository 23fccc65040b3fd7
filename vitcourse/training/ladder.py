"""The ladder of speed-ups: the same training step, from the way most code does it to the fastest, one change a rung.

All rungs take turns, a few steps each, so that a machine that slows down slows all of them; the medians count.
"""

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.table import Column, Table

from vitcourse.errors import RequestError
from vitcourse.training.graph import WARM_UP
from vitcourse.training.kernels import PARTS
from vitcourse.training.loop import Run
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import TrainConfig
from vitcourse.training.runs import provenance

GROUND: dict[str, Any] = {
    "pipeline": "loader",
    "sync": True,
    "fused": False,
    "kernels": "own",
    "parts": (),
    "amp": "off",
    "compile": "off",
    "graph": False,
}
# What each rung changes, on top of all those below it, and whether it needs a GPU.
RUNGS: list[tuple[str, dict[str, Any], bool]] = [
    ("image by image, as a DataLoader makes them, the loss read at every step", {}, False),
    ("whole batches, made on the device", {"pipeline": "device"}, False),
    ("nothing waits for the device", {"sync": False}, False),
    ("fused optimiser", {"fused": True}, False),
    ("torch's layer norm and GELU", {"kernels": "fused", "parts": PARTS[:2]}, False),
    ("torch's attention, or products for few tokens", {"parts": PARTS[:3]}, False),
    ("patches by one matrix product", {"parts": PARTS[:4]}, False),
    ("the last block for CLS alone", {"parts": PARTS}, False),
    ("torch.compile", {"compile": "default"}, False),
    ("bf16 autocast", {"amp": "bf16"}, False),  # the last of a CPU's: many have no units for it, and it only costs
    ("CUDA graphs of the model", {"compile": "reduce-overhead"}, True),
    ("the whole step as one CUDA graph", {"compile": "default", "graph": True}, True),
]
# A turn is as many steps as fill this time.
SECONDS_A_TURN = 0.5
Name = TypeVar("Name", bound=Hashable)
Figure = TypeVar("Figure")


def climb(config: TrainConfig, rounds: int, console: Console) -> dict[str, Any]:
    """Measure every rung that this machine has. Raises RequestError as training does."""
    setup = _with(prepare(replace(config, **settings_of(GROUND))), GROUND)
    setup, settings = _in_whole_batches(setup), GROUND
    rungs: dict[str, dict[str, Any]] = {}
    turns: dict[str, Callable[[], float]] = {}
    for name, change, needs_gpu in RUNGS:
        settings = {**settings, **change}
        missing = "needs a GPU" if needs_gpu and setup.device.type != "cuda" else None
        console.print(f"first step: {name}")
        try:
            if not missing:
                turns[name] = turn_of(_with(setup, settings))
        except Exception as error:
            # torch.compile needs a C++ compiler or Triton; that a rung is missing must not bring down the ladder.
            if settings["compile"] == "off":
                raise
            missing = f"doesn't compile here: {type(error).__name__}"
        if missing:
            console.print(f"left out: {missing}")
        rungs[name] = {"name": name, "settings": settings, "missing": missing}
    console.print(f"now all in turns, {rounds} rounds")
    speeds = {name: statistics.median(found) for name, found in in_turns(turns, rounds).items()}
    for name, rung in rungs.items():
        speed = speeds.get(name)
        rung["images_per_second"] = speed and round(speed, 1)
        rung["milliseconds_per_step"] = speed and round(1000 * config.batch_size / speed, 3)
    return {
        "what": f"training steps of the preset {config.preset}, each rung on top of those above it, in turns, "
        f"medians of {rounds}",
        "preset": config.preset,
        "device": setup.device_name,
        "threads": torch.get_num_threads() if setup.device.type == "cpu" else None,
        "batch_size": config.batch_size,
        "rungs": list(rungs.values()),
        "provenance": provenance(),
    }


def _in_whole_batches(setup: Setup) -> Setup:
    """Without the last, smaller batch, which would be another kind of step."""
    size, there = setup.config.batch_size, len(setup.train_images)
    if there < size:
        raise RequestError(f"--batch-size {size} is more than the {there:,} training images; type less")
    whole = there // size * size
    return replace(setup, train_images=setup.train_images[:whole], train_labels=setup.train_labels[:whole])


def in_turns(ways: Mapping[Name, Callable[[], Figure]], rounds: int) -> dict[Name, list[Figure]]:
    """What each way gives in each round, in a new order every time: a machine that slows down slows all of them."""
    found: dict[Name, list[Figure]] = {name: [] for name in ways}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(ways), len(ways)):
            found[name].append(ways[name]())
    return found


def settings_of(rung: dict[str, Any]) -> dict[str, Any]:
    """What of a rung is a setting; which parts are computed otherwise isn't one."""
    return {name: value for name, value in rung.items() if name != "parts"}


def _with(setup: Setup, rung: dict[str, Any]) -> Setup:
    return replace(setup.changed(**settings_of(rung)), parts=rung["parts"])


def turn_of(setup: Setup) -> Callable[[], float]:
    """What takes a turn, and tells its images a second; here its first steps are taken, which compile and allocate."""
    run = Run.start(setup)
    losses = run.endless()

    def seconds(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            next(losses)
            # The ladder has no end: the schedule's last rate would be 0.
            run.steps_done = 1
        if setup.device.type != "cpu":
            torch.accelerator.synchronize(setup.device)
        return time.perf_counter() - started

    # A recording comes later than the first step, and may fail too.
    seconds(3 + (WARM_UP + 1 if setup.device.type == "cuda" else 0))
    n_steps = max(1, round(2 * SECONDS_A_TURN / seconds(2)))
    return lambda: n_steps * setup.config.batch_size / seconds(n_steps)


def as_table(record: dict[str, Any]) -> Table:
    """The record as one reads it: images a second, and how many times the rung before and the ground."""
    figures = (Column(head, justify="right") for head in ("images/s", "ms/step", "× before", "× ground"))
    table = Table("rung", *figures)
    ground = before = record["rungs"][0]["images_per_second"]
    for rung in record["rungs"]:
        speed = rung["images_per_second"]
        if speed is None:
            table.add_row(rung["name"], rung["missing"], "", "", "")
            continue
        beside = (f"{speed / other:.2f}" for other in (before, ground))
        table.add_row(rung["name"], f"{speed:,.0f}", f"{rung['milliseconds_per_step']:.2f}", *beside)
        before = speed
    return table
