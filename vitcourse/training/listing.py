"""`vitcourse runs`: the runs side by side, read from their files; no torch is needed."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from vitcourse.errors import RequestError
from vitcourse.files import parse_json, printable, read_json
from vitcourse.speech import print_json
from vitcourse.training.presets import LOSSES, MAY_DIFFER, PRESETS, as_typed
from vitcourse.training.runs import CONFIG, RESULT, RUNS, diverged


def show_runs(base: Path, as_json: bool, console: Console) -> None:
    """Print a table of the runs, or a list of objects."""
    base = next((place for place in (base, RUNS / base) if place.exists()), base)
    listed = list(_runs(base))
    for file in _configs(base):
        if not _is_ours(read_json(file)):
            what = f"{file.parent} isn't shown: its {CONFIG} is not what this version of the course wrote"
            print(f"vitcourse: {printable(what)}", file=sys.stderr)
    if as_json:
        print_json(listed)
        return
    if not listed and base != RUNS:
        raise RequestError(f"there is no run at {base}; to see those in {RUNS}/, type: vitcourse runs")
    if not listed:
        raise RequestError(f"there is no run in {base}/ yet; type: vitcourse train")
    accuracy, loss, seconds, epochs = (
        Column(head, justify="right", no_wrap=True) for head in ("accuracy", "loss", "seconds", "epochs")
    )
    name, recipe = (Column(head, overflow="fold") for head in ("run", "recipe"))  # they are typed again: none is cut
    table = Table(name, recipe, accuracy, loss, seconds, "device", epochs, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for run in listed:
        changes = [as_typed(name, value) for name, value in run["changed"].items()]
        words = printable(" ".join([run["preset"], *changes]))
        if console.width >= 80:  # no word of it is cut
            recipe.min_width = max(recipe.min_width or 0, *map(len, words.split()))
        table.add_row(
            printable(run["run"]),
            words,
            _number(run["accuracy"], ".2%"),
            _number(run["loss"], ".4f" if (run["loss"] or 0) < 1000 else ".2e"),
            _number(run["seconds"], ".1f"),
            run["device"] or "-",
            f"{run['epochs_done']}/{run['epochs']}",
        )
    console.print(table)
    for run in listed:
        if run["diverged"]:
            console.print(f"{printable(run['run'])} can't go on: {printable(run['diverged'])}", soft_wrap=True)
        if run["resume"]:
            console.print(f"{printable(run['run'])} isn't finished; to go on, type: {run['resume']}", soft_wrap=True)


def _runs(base: Path) -> Iterator[dict[str, Any]]:
    """A run, or those in a folder, the oldest first; of a run of both losses its two parts."""
    within = base.parent if (base / CONFIG).is_file() else base
    times = {file: file.stat().st_mtime for file in _configs(base)}
    configs = {file: config for file in times if _is_ours(config := read_json(file))}
    # The folder that holds two runs says what they don't: that the second hasn't begun.
    for file in [file for file, config in configs.items() if config.get("loss") == "both"]:
        config = configs.pop(file)
        for part in [part for loss in LOSSES if not (part := file.parent / loss / CONFIG).is_file()]:
            times[part] = max(time for other, time in times.items() if file.parent in other.parents)
            configs[part] = {**config, "loss": part.parent.name}
    for file in sorted(configs, key=lambda file: (times[file], file)):
        yield _listed(file.parent, configs[file], within)


def _is_ours(config: dict[str, Any]) -> bool:
    """Whether this version of the course wrote it. What stands in a damaged one may be anything, no word even."""
    return config.get("preset") in list(PRESETS)


def _configs(base: Path) -> list[Path]:
    return [file for depth in ("", "*/", "*/*/") for file in base.glob(f"{depth}{CONFIG}")]


def _listed(folder: Path, config: dict[str, Any], within: Path) -> dict[str, Any]:
    """One run: its recipe as the preset and what differs from it, how far it came, and what to type to go on."""
    preset = asdict(PRESETS[config["preset"]])
    changed = {
        name: value
        for name, value in config.items()
        if name in preset and value != preset[name] and (name not in MAY_DIFFER or (name, value) == ("kernels", "own"))
    }
    result = read_json(folder / RESULT)
    epochs = _epochs(folder)
    last = epochs[-1] if epochs else {}
    finished = bool(result.get("finished"))
    why = "" if finished else diverged(folder)
    whole = folder.parent if (folder.parent / CONFIG).is_file() else folder  # a part is gone on with by the whole
    return {
        "run": folder.relative_to(within).as_posix(),
        "preset": config["preset"],
        "changed": changed,
        "epochs": config.get("epochs", 0),
        "epochs_done": len(epochs),
        "accuracy": result.get("accuracy", last.get("accuracy")),
        "loss": last.get("loss"),
        "seconds": result.get("wall_seconds") or sum(epoch.get("seconds", 0) for epoch in epochs) or None,
        "device": result.get("device") or config.get("device"),
        "finished": finished,
        "diverged": why,
        "resume": None if finished or why else f"vitcourse train --resume --output {shlex.quote(str(whole))}",
    }


def _epochs(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [epoch for epoch in map(parse_json, lines) if isinstance(epoch, dict)]
    except (OSError, ValueError):
        return []


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
