"""What the course itself costs: its size, and the seconds of what one types; into results/course.json.

Each command runs in a new folder of a learner's, several times; its processor time and the clock's, both medians. The
ratios are what a test holds: an import beside an empty program, `status` beside the import of numpy.

In the course's folder, type: python benchmarks/course.py
It takes about two minutes, and with --also "an install", "the book" or "the tests" minutes more; what is left out keeps
its figures from before.
"""

import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import typer
from shared import RESULTS, keep

from vitcourse.files import read_json
from vitcourse.places import root
from vitcourse.training.ladder import in_turns

PYTHON = [sys.executable]
COURSE = [*PYTHON, "-m", "vitcourse"]
COMMANDS = {
    "python -c pass": [*PYTHON, "-c", "pass"],
    "import numpy": [*PYTHON, "-c", "import numpy"],
    "import torch": [*PYTHON, "-c", "import torch"],
    "import vitcourse": [*PYTHON, "-c", "import vitcourse"],
    "vitcourse --help": [*COURSE, "--help"],
    "vitcourse status": [*COURSE, "status"],
    "vitcourse check 1.1, cold": [*COURSE, "check", "1.1"],
    "vitcourse check --code solutions, cold": [*COURSE, "check", "--code", "solutions"],
}
# How many times as much processor time one takes as another; in CI at most what was measured then, and a half more.
RATIOS = {
    "import vitcourse beside python -c pass": 3.0,
    "vitcourse --help beside import numpy": 4.0,
    "vitcourse status beside import numpy": 10.0,
    "vitcourse check 1.1, cold beside import torch": math.inf,
}
SAVES = 7


def main(
    rounds: int = 5,
    commands: list[str] | None = None,
    also: list[str] | None = None,
    output: Path = RESULTS / "course.json",
) -> None:
    """Measure the commands (all, or those named) and whatever else is asked for; print, keep."""
    before = read_json(output)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "my-vit"
        subprocess.run([*COURSE, "init", str(place)], check=True, capture_output=True)
        seconds = medians({name: COMMANDS[name] for name in commands or COMMANDS}, rounds, place)
        figures: dict[str, Any] = {
            "commands": seconds,
            "ratios": ratios(seconds),
            "vitcourse watch, from a save to its verdict": reaction(place),
        }
    for name, measure in ALSO.items():
        figures[name] = measure() if name in (also or ()) else before.get(name, "not measured yet")
    what = f"seconds of the processor and on the clock, medians of {rounds} rounds, the commands in turns"
    print(json.dumps(keep("course", what, file=output, **figures), indent=2, ensure_ascii=False))


def timed(command: list[str], place: Path) -> dict[str, float]:
    """What a command takes, with the processes that it starts and waits for. One that fails took its time too."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=False, capture_output=True, cwd=place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(cpu, 3), "seconds": round(time.perf_counter() - started, 3)}


def medians(commands: dict[str, list[str]], rounds: int, place: Path) -> dict[str, dict[str, float]]:
    """The median of each command's rounds; a round before them compiles and fills the system's cache."""
    ways = {name: partial(timed, command, place) for name, command in commands.items()}
    in_turns(ways, 1)
    return {
        name: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for name, found in in_turns(ways, rounds).items()
    }


def ratios(commands: dict[str, dict[str, float]]) -> dict[str, float]:
    """The ratios of the commands that were measured."""
    pairs = {name: [commands.get(command) for command in name.split(" beside ")] for name in RATIOS}
    return {name: round(a["cpu_seconds"] / b["cpu_seconds"], 2) for name, (a, b) in pairs.items() if a and b}


def reaction(place: Path) -> dict[str, float]:
    """Seconds on the clock from a save of 1.1, right and wrong in turns, until the watch has printed its verdict."""
    file = place / "chapters" / "ch01_patches.py"
    answer = (root() / "solutions" / "ch01_patches.py").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    watch = subprocess.Popen(
        [*COURSE, "watch"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert watch.stdout is not None
    seconds = []
    try:
        until("watching", watch.stdout)
        for number in range(SAVES):
            started = time.perf_counter()
            wrong = answer.replace("(gh gw) (C P1 P2)", "(gw gh) (C P1 P2)") if number % 2 else answer
            file.write_text(f"{wrong}\n# {number}\n", encoding="utf-8")
            until("verdict at", watch.stdout)
            seconds.append(time.perf_counter() - started)
    finally:
        watch.terminate()
        watch.wait()
    return {"median_seconds": round(statistics.median(seconds), 2), "most_seconds": round(max(seconds), 2)}


def until(word: str, lines: Any) -> None:
    """Read until a line has the word. Raises RuntimeError when there are no more."""
    for line in lines:
        if word in line:
            return
    raise RuntimeError(f"the watch ended before it said {word!r}")


def installed(site: Path) -> dict[str, Any]:
    """Megabytes of the packages in an environment's folder, by their own lists of files."""
    sizes = {}
    for package in metadata.distributions(path=[str(site)]):
        places = [Path(file.locate()) for file in package.files or ()]
        sizes[package.name] = sum(place.stat().st_size for place in places if place.is_file()) / 1e6
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    of_gpus = sum(size for name, size in sizes.items() if name.startswith(("nvidia", "triton", "cuda")))
    return {
        "packages": len(sizes),
        "megabytes": round(sum(sizes.values())),
        "largest": {name: round(sizes[name]) for name in largest},
        "without what torch brings for a GPU": round(sum(sizes.values()) - of_gpus),
    }


def installing() -> dict[str, Any]:
    """The wheel into an empty environment, everything else from uv's cache, where an earlier install has put it."""
    with tempfile.TemporaryDirectory() as folder:
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder], check=True, cwd=root())
        (wheel,) = Path(folder).glob("*.whl")
        subprocess.run([uv, "venv", "--quiet", f"{folder}/env"], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", f"{folder}/env/bin/python", str(wheel)]
        took = {**timed(command, Path(folder)), "wheel_megabytes": round(wheel.stat().st_size / 1e6, 2)}
        (site,) = Path(folder, "env", "lib").glob("python*/site-packages")
        return {**took, **installed(site)}


def building() -> dict[str, Any]:
    """The book from nothing, in a copy of the folder, and once more."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "course"
        ignored = shutil.ignore_patterns(".git", ".venv", "_build", "runs", "__pycache__", ".*_cache", ".jupyter_cache")
        shutil.copytree(root(), place, ignore=ignored)
        command = [*COURSE, "book", "--no-serve"]
        return {"from nothing": timed(command, place), "unchanged": timed(command, place)}


def testing() -> dict[str, Any]:
    """All tests, in the two processes that they take by default."""
    return timed([*PYTHON, "-m", "pytest", "-q"], root())


ALSO: dict[str, Callable[[], dict[str, Any]]] = {"an install": installing, "the book": building, "the tests": testing}


if __name__ == "__main__":
    typer.run(main)
