"""What tracing costs: a forward pass of the mnist preset's model, traced and not, in turns; into results/trace.json.

In the course's folder, type: python benchmarks/trace.py
"""

import json
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.shared import keep
from vitcourse.codesets import load_code
from vitcourse.trace import trace
from vitcourse.training.presets import PRESETS

ROUNDS = 21


def main() -> None:
    """Measure in turns, so that a machine that slows down slows both; print and write the medians."""
    config = PRESETS["mnist"]
    torch.set_num_threads(1)
    model = load_code("solutions").module("ch05_vit").VisionTransformer(
        config.crop, config.patch_size, 1, 10, config.d_model, config.n_layers, config.n_heads, config.mlp_ratio
    )  # fmt: skip
    images = torch.rand(config.batch_size, 1, config.crop, config.crop)
    # The first trace of a process reads the sources; it is not what repeats.
    runs = trace(model, images).runs
    # The pass by itself is the quickest of a few in a row: the first one after a trace finds the caches cold.
    rounds = [
        (min(seconds(lambda: model(images)) for _ in range(5)), seconds(lambda: trace(model, images)))
        for _ in range(ROUNDS)
    ]
    plain, traced = (statistics.median(times) for times in zip(*rounds, strict=True))
    record = keep(
        "trace",
        f"one forward pass of the mnist preset's model, batch of {config.batch_size}, "
        f"medians of {ROUNDS} rounds, processor time, the plain pass in a tight loop",
        plain_milliseconds=round(1000 * plain, 1),
        traced_milliseconds=round(1000 * traced, 1),
        runs=runs,
        ratio=round(statistics.median(b / a for a, b in rounds), 2),
    )
    print(json.dumps(record, indent=2))


def seconds(call: Callable[[], object]) -> float:
    """How long the processor works on a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
