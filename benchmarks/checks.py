"""What a verdict costs: the watch's saves, right and wrong ones, and a whole set of chapters from a cold start.

In the course's folder, type: python benchmarks/checks.py
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.shared import keep
from vitcourse.checking.grading import grade
from vitcourse.checking.judge import Judge, load_checks
from vitcourse.checking.misconceptions import misconceptions
from vitcourse.checking.workers import Workers
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise, exercises
from vitcourse.places import root

N_SAVES = 30


def main() -> None:
    """Measure, print, keep."""
    draw = random.Random(0)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, Workers() as workers:
        workers.begin()
        load_checks()
        judge = Judge(workers)
        own = [entry for entry in exercises() if entry.module < "ch05"]
        saves = Saves(Path(folder), judge)
        saves.verdict(own[0], None)  # torch is loaded, the first comparisons are made
        right = [draw.choice(own) for _ in range(N_SAVES)]
        figures["passing answer, chapters 1 to 4"] = timed([partial(saves.verdict, e, None) for e in right])
        wrong = draw.sample([m for m in misconceptions() if m.exercise < "5"], N_SAVES)
        figures["failing answer of the list"] = timed([partial(saves.verdict, exercise(m.exercise), m) for m in wrong])
        unknown = [partial(saves.verdict, e, "unknown") for e in right]
        figures["failing answer of no list, the search to its end"] = timed(unknown)
    since = time.perf_counter()
    command = [sys.executable, "-m", "vitcourse", "check", "--code", "solutions"]
    subprocess.run(command, check=True, capture_output=True, cwd=root())
    figures["a finished set from a cold start"] = {"seconds": round(time.perf_counter() - since, 2)}
    what = f"seconds from a save to its verdict, median and maximum of {N_SAVES} saves"
    print(json.dumps(keep("checks", what, **figures), indent=2))


class Saves:
    """A folder of solved chapters, one exercise of which is saved anew each time."""

    def __init__(self, folder: Path, judge: Judge) -> None:
        self.folder, self.judge = folder, judge

    def verdict(self, exercise: Exercise, wrong: Any) -> str:
        """Save the exercise, right (None), with a known mistake or with one that nobody knows; its status."""
        for file in (root() / "solutions").glob("ch*.py"):
            (self.folder / file.name).write_bytes(file.read_bytes())
        chapter = self.folder / f"{exercise.module}.py"
        if wrong == "unknown":
            text = chapter.read_text(encoding="utf-8")
            chapter.write_text(text + noisy(exercise.names[0]), encoding="utf-8")
        elif wrong is not None:
            chapter.write_text(wrong.source(), encoding="utf-8")
        (verdict,) = grade(load_code(self.folder), [exercise], self.judge)
        assert (verdict.status == "passed") == (wrong is None), verdict
        return verdict.status


def noisy(name: str) -> str:
    """Lines that make what a function or a module gives wrong in a way that is on no list."""
    return (
        f"\n\n_right = {name}\n\n\ndef _spoilt(value):\n    if isinstance(value, tuple):\n"
        "        return tuple(_spoilt(part) for part in value)\n"
        "    return value * 1.37 + 0.11 * value.sum().tanh() if torch.is_tensor(value) else None\n\n\n"
        f"if isinstance(_right, type):\n    class {name}(_right):\n"
        "        def forward(self, *args, **kwargs):\n            return _spoilt(super().forward(*args, **kwargs))\n"
        f"else:\n    def {name}(*args, **kwargs):\n        return _spoilt(_right(*args, **kwargs))\n"
    )


def timed(saves: list[Callable[[], str]]) -> dict[str, float]:
    """Seconds and processor seconds of this process (the worker's not among them) for each save."""
    walls, processor = [], []
    for save in saves:
        since, used = time.perf_counter(), time.process_time()
        save()
        walls.append(time.perf_counter() - since)
        processor.append(time.process_time() - used)
    return {
        "median_seconds": round(statistics.median(walls), 3),
        "most_seconds": round(max(walls), 3),
        "median_processor_seconds_of_the_judge": round(statistics.median(processor), 3),
    }


if __name__ == "__main__":
    main()
