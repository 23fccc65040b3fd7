"""Twenty SIGKILLs at random moments of a training run, each resumed; then its weights beside those of a run left alone.

In the course's folder, type: python benchmarks/kills.py
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.shared import keep

N_KILLS = 20
OPTIONS = ["digits", "--epochs=250", "--batch-size=16", "--dropout=0.1", "--shift=1", "--ema=0.9", "--optimizer=muon"]
# A short run would have no checkpoint but its first: here they come twice a second.
OFTEN = "from vitcourse.training import checkpoints as c; c.SECONDS_BETWEEN, c.SHARE = 0.5, 1.0"
COMMAND = [sys.executable, "-c", f"{OFTEN}; from vitcourse.cli import main; main()", "train", *OPTIONS]
COMMAND += ["--threads=1", "--device=cpu", "--resume", "--output"]


def main() -> None:
    """Kill, resume, compare; print and write what came of it."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        started = time.perf_counter()
        subprocess.run([*COMMAND, str(whole)], check=True, capture_output=True)
        seconds = time.perf_counter() - started
        kills: list[dict[str, Any]] = []
        while len(kills) < N_KILLS:
            # From the first moment, still importing, to a good way into the run.
            kills.append(kill_after(draw.uniform(0, 0.12 * seconds), killed))
            print(kills[-1])
        subprocess.run([*COMMAND, str(killed)], check=True, capture_output=True)
        one, other = (load_file(run / "weights.safetensors") for run in (whole, killed))
        same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    record = keep(
        "kills",
        f"{N_KILLS} SIGKILLs at random moments of one run, each resumed with the same command",
        weights_identical=same,
        kills_before_the_end=sum(not kill["finished"] for kill in kills),
        epochs_lost_at_most=max(kill["epochs_lost"] for kill in kills),
        kills=kills,
    )
    print(json.dumps({name: value for name, value in record.items() if name != "kills"}, indent=2))


def kill_after(seconds: float, run: Path) -> dict[str, Any]:
    """Start or resume the run, and kill it after so many seconds: how far it had come, and its checkpoint with it."""
    with subprocess.Popen([*COMMAND, str(run)], stdout=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.kill()
    epochs = len((run / "metrics.jsonl").read_text().splitlines()) if (run / "metrics.jsonl").exists() else 0
    kept = torch.load(run / "checkpoint.pt", weights_only=True) if (run / "checkpoint.pt").exists() else None
    # A run that has its result needs no checkpoint any more.
    finished = (run / "result.json").exists()
    in_checkpoint = len(kept["run"]["epochs"]) if kept else epochs if finished else 0
    return {
        "after_seconds": round(seconds, 2),
        "epochs_done": epochs,
        "epochs_lost": epochs - in_checkpoint,
        "finished": finished,
    }


if __name__ == "__main__":
    main()
