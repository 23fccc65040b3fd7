"""The README's table of results, made from the files in results/. A test compares the two.

In the course's folder, type: python benchmarks/readme.py
"""

from typing import Any

from vitcourse.book import results


def table() -> str:
    """The table, in Markdown."""
    seed, digits, mnist, best = (results(name) for name in ("seed", "digits", "mnist", "best"))
    original = seed["original_project"]
    rows = [
        ("recipe", "data", "accuracy on the test images", "training loss, first and last epoch", "training"),
        ("---",) * 5,
        (
            "the original project, as its text reports",
            "MNIST",
            f"{original['accuracy']:.0%}",
            f"{original['first_loss']:.3f} … {original['last_loss']:.3f}",
            "10 epochs on an H100",
        ),
        ("`train seed --loss original`: the same, softmax and all", "MNIST", *_both(seed, "original")),
        ("`train seed`: the same on plain logits", "MNIST", *_both(seed, "cross-entropy")),
        ("`train mnist`: our recipe", "MNIST", *_preset(mnist)),
        (
            "`train mnist-gpu`: the most accurate, here on a CPU",
            "MNIST",
            f"{best['accuracy']:.2%} (1 seed)",
            "",
            f"{best['cpu_seconds']:,} CPU seconds",
        ),
        ("`train`: our recipe, no download", "digits", *_preset(digits)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _both(seed: dict[str, Any], loss: str) -> tuple[str, str, str]:
    runs = [run[loss] for run in seed["runs"]]
    return (
        " and ".join(f"{run['accuracy']:.1%}" for run in runs),
        " and ".join(f"{run['losses'][0]:.3f} … {run['losses'][-1]:.3f}" for run in runs),
        _seconds([run["cpu_seconds"] for run in runs]),
    )


def _preset(result: dict[str, Any]) -> tuple[str, str, str]:
    runs = result["runs"]
    return (
        f"{result['mean_accuracy']:.2%} on average, {result['lowest_accuracy']:.2%} at least ({len(runs)} seeds)",
        "",
        _seconds([run["cpu_seconds"] for run in runs]),
    )


def _seconds(seconds: list[float]) -> str:
    low, high = round(min(seconds)), round(max(seconds))
    return f"{low} CPU seconds" if low == high else f"{low} to {high} CPU seconds"


if __name__ == "__main__":
    print(table())
