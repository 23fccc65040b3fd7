"""What benchmarks/gpu.py has measured, by the names of its parts, as rows of the book's tables."""

from collections.abc import Mapping
from statistics import median
from typing import Any

Parts = Mapping[str, Any]


def training(parts: Parts) -> list[dict[str, str]]:
    """A row for each preset that was trained: how good it gets, and how soon."""
    rows = []
    for part in parts.values():
        runs = [run for run in part.get("runs", []) if run.get("epochs")]
        if not runs:
            continue
        target = next((name for name in runs[0]["to"] if name.startswith("99.0")), next(iter(runs[0]["to"])))
        # A run that never got there takes for ever.
        reached = median(run["to"][target] or float("inf") for run in runs)
        rows.append(
            {
                "preset": part["preset"],
                "seeds": str(len(runs)),
                "seconds of training": f"{median(run['epochs'][-1]['training_seconds'] for run in runs):.1f}",
                "accuracy in the end": f"{median(run['accuracy'] for run in runs):.2%}",
                "to": target,
                "seconds": f"{reached:.1f}" if reached < float("inf") else "never",
                "ms a step": f"{median(run['milliseconds_a_step'] for run in runs):.2f}",
                "before it": f"{runs[0]['seconds_before']:.0f} s",
            }
        )
    return rows


def steps(parts: Parts) -> list[dict[str, str]]:
    """A row for each size of step that was timed."""
    return [
        {
            "preset": part["preset"],
            "images a step": f"{size['batch_size']:,}",
            "ms a step": f"{size['milliseconds_a_step']:.2f}",
            "images per second": f"{size['images_per_second']:,.0f}",
            "of the data sheet": f"{size['share_of_data_sheet']:.1%}" if "share_of_data_sheet" in size else "",
            "memory, GiB": f"{size['peak_memory_gib']:.1f}" if "peak_memory_gib" in size else "",
        }
        for part in parts.values()
        for size in part.get("sizes", [])
        if "failed" not in size
    ]


def answers(parts: Parts) -> list[dict[str, str]]:
    """A row for each question whether it computes what it should."""
    return [
        {
            "question": question,
            "answer": ", ".join(f"{name.replace('_', ' ')}: {_said(v)}" for name, v in answer.items()),
        }
        for question, answer in parts["correct"].items()
        if isinstance(answer, Mapping)
    ]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else str(value)
