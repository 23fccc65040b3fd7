"""The original project's recipe on MNIST, with its softmax in front of the loss and without; into results/seed.json.

In the course's folder, type: python benchmarks/seed.py
"""

from typing import Any

from benchmarks.shared import keep, results_of
from vitcourse.training.configuration import make_config
from vitcourse.training.runs import Result

SEEDS = (0, 1)

# What the original's text reports of its ten epochs on an H100.
ORIGINAL = {"first_loss": 1.768, "last_loss": 1.530, "accuracy": 0.93}


def main() -> None:
    """Train both ways with each seed, and write down what came of it."""
    runs = []
    for seed in SEEDS:
        results = results_of(make_config("seed", loss="both", seed=seed, device="cpu"))
        runs.append({"seed": seed, **{loss: summary(result) for loss, result in results.items()}})
    what = "the original project's recipe on MNIST, on plain logits and with a softmax in front of cross-entropy"
    keep("seed", what, original_project=ORIGINAL, runs=runs)


def summary(result: Result) -> dict[str, Any]:
    """The figures of one run that stand beside those of the other."""
    return {
        "accuracy": round(result.accuracy, 4),
        "losses": [round(epoch.loss, 4) for epoch in result.epochs],
        "accuracies": [round(epoch.accuracy, 4) for epoch in result.epochs],
        "cpu_seconds": round(result.cpu_seconds, 1),
    }


if __name__ == "__main__":
    main()
