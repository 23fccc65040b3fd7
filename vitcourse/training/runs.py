"""A run's folder and what stands in it: records of the epochs and of the result, and where the numbers come from.

Every file is written beside its place and then moved there, so that none is ever half written, not even when the
power fails.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import vitcourse
from vitcourse.errors import RequestError, RunError
from vitcourse.files import parse_json, read_json, unwritable, write_atomically, writing

RUNS = Path("runs")
CONFIG = "config.json"
RESULT = "result.json"
WEIGHTS = "weights.safetensors"
DIVERGED = "diverged.txt"  # why no --resume would help
_ELSEWHERE = "type --output with a folder that can be written"


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl. Accuracy and test loss were measured after the epoch, the loss while it went on."""

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    test_loss: float | None = None


@dataclass(frozen=True)
class Result:
    """The end of a run: what result.json holds. What is added to it has a default, which older runs then have."""

    accuracy: float
    measured_on: str
    n_measured: int
    finished: bool
    steps: int
    parameters: int
    device: str
    cpu_seconds: float
    wall_seconds: float
    epochs: list[Epoch]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. It is made by the first file that is written; or, for a run that is new, by `begun`.

    Of several processes one alone writes; for the others nothing happens. Where the name was not asked for, spare names
    take its place if another run has begun there meanwhile.
    """

    path: Path
    writes: bool = True
    new: bool = False
    spare: tuple[Path, ...] = ()

    def begun(self) -> "RunFolder":
        """The folder of a new run, made. Raises RequestError when another run has begun there since it was chosen."""
        if not (self.new and self.writes):
            return self
        for path in (self.path, *self.spare):
            with writing(path, _ELSEWHERE), suppress(FileExistsError):
                path.mkdir(parents=True)
                return RunFolder(path)
        return choose_folder(self.path, "")

    def require_writable(self) -> None:
        """Raise RequestError now where writing would fail later."""
        if self.writes and (fault := unwritable(self.path)):
            raise RequestError(f"can't write {self.path}: {fault}; {_ELSEWHERE}")

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file at once or not at all. Raises RequestError when the disk or the rights don't allow it."""
        if not self.writes:
            return
        data = content.encode("utf-8") if isinstance(content, str) else content
        with writing(self.path, _ELSEWHERE):
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / name, data)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, indented for reading."""
        self.write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_epochs(self, epochs: list[Epoch]) -> None:
        """Write metrics.jsonl: one line per epoch."""
        self.write("metrics.jsonl", "".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))

    def part(self, name: str) -> "RunFolder":
        """A folder within, for one of several runs that belong together."""
        return RunFolder(self.path / name, self.writes)

    def remove(self, name: str) -> None:
        """Delete a file that has done its service, where that is allowed."""
        if self.writes:
            with suppress(OSError):
                (self.path / name).unlink()

    @property
    def result(self) -> Result | None:
        """What result.json holds; None when there is none that can be read."""
        try:
            values = parse_json((self.path / RESULT).read_text(encoding="utf-8"))
            return Result(**{**values, "epochs": [Epoch(**epoch) for epoch in values["epochs"]]})
        except (OSError, ValueError, KeyError, TypeError):
            return None


def choose_folder(output: Path | None, preset: str, base: Path = RUNS) -> RunFolder:
    """The folder that was asked for, or a new one in runs/ with the preset and the time in its name.

    Nothing is made yet. Raises RequestError when a run stands there already.
    """
    if output is not None:
        with writing(output, _ELSEWHERE):
            if output.exists() and (not output.is_dir() or any(output.iterdir())):
                raise RequestError(
                    f"{output} is there already and not empty; type --output with another name, or --resume"
                )
        return RunFolder(output, new=True)
    name = f"{preset}-{datetime.now():%Y%m%d-%H%M%S}"
    first, *spare = (base / f"{name}{number}" for number in ("", *(f"-{number}" for number in range(2, 1000))))
    return RunFolder(first, new=True, spare=tuple(spare))


def find_run(output: Path | None, preset: str | None) -> RunFolder | None:
    """The run to go on with: the one in that folder, else the latest in runs/ (of the preset) that isn't finished.

    None when the folder that was asked for isn't there yet, or is empty. Raises RequestError when there is no such run.
    """
    if output is not None:
        with writing(output, _ELSEWHERE):
            if not output.exists() or (output.is_dir() and not any(output.iterdir())):
                return None
        if not (output / CONFIG).is_file():
            raise RequestError(f"{output} holds no run to resume; type --output with another folder")
        return RunFolder(output)
    begun = sorted(RUNS.glob(f"*/{CONFIG}"), key=lambda file: (file.stat().st_mtime, file))
    unfinished = [
        file.parent
        for file in begun
        if not _is_finished(file.parent)
        and not diverged(file.parent)
        and preset in (None, read_json(file).get("preset"))
    ]
    if not unfinished:
        what = f"run of {preset}" if preset else "run"
        raise RequestError(f"there is no unfinished {what} in {RUNS}/ to resume; leave --resume out to start one")
    return RunFolder(unfinished[-1])


def find_trained(run: Path | None) -> Path:
    """The run that is meant: a folder, a weights file, or a name in runs/; the one trained last if none is.

    Raises RequestError when there is no such run, or when it has no weights.
    """
    if run is not None:
        found = next((path for path in (run.expanduser(), RUNS / run) if path.exists()), None)
        if found is None:
            raise RequestError(f"there is no run {run}; to see those that are there, type: vitcourse runs")
        if found.is_dir():
            weights_in(found)
        return found
    # A run of both losses keeps one model in a folder for each.
    trained = [file for depth in ("*", "*/*") for file in RUNS.glob(f"{depth}/{WEIGHTS}")]
    if not trained:
        raise RequestError(f"there is no trained model in {RUNS}/ yet; type: vitcourse train")
    return max(trained, key=lambda file: (file.stat().st_mtime, file)).parent


class DivergedError(RunError):
    """The loss is no number any more. From its checkpoint the run would come to the same."""


def diverged(run: Path) -> str:
    """What a run whose loss became no number said last; else nothing."""
    try:
        files = [*run.glob(DIVERGED), *run.glob(f"*/{DIVERGED}")]  # a run of both losses has parts
        return files[0].read_text(encoding="utf-8").strip() if files else ""
    except (OSError, ValueError):
        return ""


def weights_in(folder: Path) -> Path:
    """A run's weights. Raises RequestError, with what to type, when it has none, or those of two models."""
    parts = sorted(file.parent for file in folder.glob(f"*/{WEIGHTS}"))
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    if parts:
        more = " or another" if len(parts) > 3 else ""
        what = "a model" if len(parts) == 1 else f"{len(parts)} models"
        raise RequestError(f"{folder} holds {what}; name one: {' or '.join(map(str, parts[-3:]))}{more}")
    if why := diverged(folder):
        raise RequestError(f"{folder} has no weights: {why}")
    if (folder / CONFIG).is_file():  # it was killed
        again = f"vitcourse train --resume --output {shlex.quote(str(folder))}"
        raise RequestError(f"{folder} isn't finished and has no weights yet; to go on, type: {again}")
    raise RequestError(f"there are no weights at {folder}; a run writes them when it ends, or is stopped by Ctrl-C")


def _is_finished(run: Path) -> bool:
    result = read_json(run / RESULT)
    if "runs" not in result:
        return bool(result.get("finished"))
    # Of both losses: the second of the two may not have begun.
    return [part.get("finished") for part in result["runs"].values()] == [True, True]


def provenance(command: str | None = None) -> dict[str, Any]:
    """Where numbers come from: machine, versions, command (as it was typed, if none is given) and date."""
    return {
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {
            "python": platform.python_version(),
            "vitcourse": vitcourse.__version__,
            **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy")},
        },
        "command": command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu_name() -> str:
    """The processor's model, as the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()
