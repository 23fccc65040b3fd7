"""The accuracy of presets over several seeds, on the test images; into results/PRESET.json.

Of several presets each seed's runs follow one another: what else the machine does slows down all of them.
In the course's folder, type: python benchmarks/presets.py digits 5, or presets.py mnist mnist-fast 3
"""

import statistics
import sys
from collections import defaultdict

from shared import RESULTS, keep, results_of

from vitcourse.training.configuration import make_config


def main() -> None:
    """Train the presets with each seed, on one thread of the CPU, and write down what came of it."""
    *presets, n_seeds = sys.argv[1:]
    runs, results = defaultdict(list), {}
    for seed, preset in ((seed, preset) for seed in range(int(n_seeds)) for preset in presets):
        (result,) = results_of(make_config(preset, seed=seed, threads=1, device="cpu")).values()
        results[preset] = result
        runs[preset].append(
            {
                "seed": seed,
                "accuracy": round(result.accuracy, 5),
                "cpu_seconds": round(result.cpu_seconds, 1),
                "wall_seconds": round(result.wall_seconds, 1),
            }
        )
        print(preset, runs[preset][-1], flush=True)
    for preset, result in results.items():
        accuracies = [run["accuracy"] for run in runs[preset]]
        table = keep(
            "presets",
            f"the preset {preset}, its accuracy on the {result.n_measured:,} test images, on one thread",
            file=RESULTS / f"{preset}.json",
            mean_accuracy=round(statistics.mean(accuracies), 5),
            lowest_accuracy=min(accuracies),
            mean_cpu_seconds=round(statistics.mean(run["cpu_seconds"] for run in runs[preset]), 1),
            parameters=result.parameters,
            runs=runs[preset],
        )
        print(f"{preset}: {table['mean_accuracy']:.2%} on average")


if __name__ == "__main__":
    main()
