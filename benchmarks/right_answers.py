"""Every right answer that is known, on many fresh inputs: none may be refused. About a quarter of an hour.

In the course's folder, type: python benchmarks/right_answers.py
"""

import ast
import io
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from vitcourse.checking.check import Check
from vitcourse.checking.judge import check_of
from vitcourse.checking.naming import references
from vitcourse.checking.subjects import CheckFailedError, Inputs
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise, exercises
from vitcourse.places import root
from vitcourse.training.runs import provenance, write_atomically
from vitcourse.worker.workshop import Workshop

RESULTS = Path(__file__).parent / "results" / "right_answers.json"
N_SEEDS = 200


def main() -> None:
    """Check, count, keep."""
    refused: list[str] = []
    checked: Counter[str] = Counter()
    for name, asked, learner in answers():
        run = check_of(asked)
        for seed in range(N_SEEDS):
            learner.things.clear()
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    run(Check(asked, learner, references(), Inputs(seed)))
                except CheckFailedError as error:
                    refused.append(f"{name}, {asked.id}, seed {seed}: {error.headline}")
            checked[asked.id] += 1
        print(
            f"{asked.id}  {name}: {len([line for line in refused if line.startswith(f'{name}, {asked.id}')])} refused"
        )
    record: dict[str, Any] = {
        "what": f"known right answers, each checked on the inputs of {N_SEEDS} seeds, in one process",
        "checks": sum(checked.values()),
        "checks_by_exercise": dict(checked),
        "refused": refused,
        "provenance": provenance("python benchmarks/right_answers.py"),
    }
    write_atomically(RESULTS, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    print(f"{record['checks']} checks, {len(refused)} refused")


def answers() -> Iterator[tuple[str, Exercise, Workshop]]:
    """The references, the three other sets, and the right ones that were written from the contract alone."""
    sets = ["solutions", *(root() / "tests" / "tools" / "alternatives" / name for name in ("one", "two", "three"))]
    for name in sets:
        code = load_code(name)
        for asked in exercises():
            yield Path(name).name, asked, Workshop(lambda module, own, code=code: getattr(code.module(module), own))
    for file in sorted((root() / "tests" / "tools" / "independent").glob("right_*.py")):
        asked = exercise(file.stem.rpartition("_")[2])
        yield file.stem, asked, alone(asked, file.read_text(encoding="utf-8"))


def alone(asked: Exercise, text: str) -> Workshop:
    """One answer in the references' chapter."""
    code = load_code("solutions")
    module = ModuleType(f"{code.package}.answer")
    module.__dict__.update({**vars(code.module(asked.module)), "__name__": module.__name__})
    sys.modules[module.__name__] = module
    exec(compile(ast.parse(text), "<answer>", "exec", dont_inherit=True), module.__dict__)
    return Workshop(lambda chapter, name: getattr(module if chapter == asked.module else code.module(chapter), name))


if __name__ == "__main__":
    main()
