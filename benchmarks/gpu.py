"""Everything of this course that a GPU must show, in one command of at most eleven minutes; into results/gpu.json.

The ladder and the race with other people's models go into files of their own, which the book reads: steps-gpu.json and
throughput-gpu.json. Each part is a process of its own with a time of its own; what it has measured so far is kept,
whatever becomes of it, and the parts that tell most come first. Needs no network: MNIST is read from VITCOURSE_DATA.

In the course's folder, type: python benchmarks/gpu.py (where the course isn't installed: PYTHONPATH=. before it)
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_parts import Asked, Measure, correct, device, ladder, original, profile, race, seeds, steps
from shared import RESULTS, keep

from vitcourse.files import write_atomically

SECONDS = 640.0
# Reading torch, and stopping a part that takes too long, is part of its time.
LEAST_SECONDS = 10.0


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
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; to see that it runs, type: --small --device cpu --output FILE")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    # Of an earlier call on the same machine, what is not asked for again stays.
    earlier = json.loads(asked.output.read_text(encoding="utf-8")) if asked.output.exists() else {}
    parts: dict[str, Any] = {} if asked.parts == list(PARTS) else earlier.get("parts", {})
    for name in asked.parts:
        # On a machine that others use too, reading torch alone may take half a minute.
        seconds = min(PARTS[name].seconds * (10 if asked.small else 1), end - time.monotonic())
        print(f"{name}: at most {max(seconds, 0):.0f} s", flush=True)
        parts[name] = run(name, asked, seconds)
        print(json.dumps(parts[name], ensure_ascii=False)[:600], flush=True)
        write(asked, parts)


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
        write_atomically(file, json.dumps(found, ensure_ascii=False))


def write(asked: argparse.Namespace, parts: dict[str, Any]) -> None:
    """Keep all that was measured: what has a file of its own there, the rest in the one asked for."""
    own: dict[str, Any] = {}
    for name, found in parts.items():
        file = PARTS[name].file
        if file and "what" in found:
            keep("gpu", file=asked.output.parent / file, **{k: v for k, v in found.items() if k != "provenance"})
            found = {key: found[key] for key in ("seconds", "ended") if key in found} | {"file": file}
        own[name] = found
    keep(
        "gpu",
        "all that the course needs a GPU for, each part in a process of its own, in the order of the parts",
        file=asked.output,
        device=parts.get("device", {}).get("card") or asked.device,
        **({"trial": True} if asked.small else {}),
        parts=own,
    )


# By value: what comes first is measured even if what comes last is not. Together no more than SECONDS.
PARTS: dict[str, Part] = {
    "device": Part(25, device),
    "correct": Part(40, correct),
    "mnist-gpu-fast": Part(65, seeds("mnist-gpu-fast", 3)),
    "mnist-gpu": Part(80, seeds("mnist-gpu", 1)),
    "vit-b16": Part(75, steps("vit-b16", 256, 128)),
    "ladder": Part(65, ladder, "steps-gpu.json"),
    "race": Part(160, race),
    "profile": Part(30, profile),
    "cifar10": Part(55, steps("cifar10", 512, data="random", image_size=32)),
    "digits": Part(20, seeds("digits", 1, (0.95,))),
    "original": Part(20, original),
}


if __name__ == "__main__":
    main()
