"""Every right answer that is known, on many fresh inputs: none may be refused. About a quarter of an hour.

In the course's folder, type: python benchmarks/right_answers.py
"""

import ast
import io
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType

from benchmarks.shared import keep
from vitcourse.checking.check import Check
from vitcourse.checking.judge import check_of
from vitcourse.checking.naming import references
from vitcourse.checking.subjects import CheckFailedError, Inputs
from vitcourse.codesets import load_code
from vitcourse.course import Exercise, exercise, exercises
from vitcourse.places import root
from vitcourse.worker.workshop import Workshop

N_SEEDS = 200


def main() -> None:
    """Check, count, keep."""
    refused: list[str] = []
    checked: Counter[str] = Counter()
    for name, asked, learner in answers():
        run, before = check_of(asked), len(refused)
        for seed in range(N_SEEDS):
            learner.things.clear()
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    run(Check(asked, learner, references(), Inputs(seed)))
                except CheckFailedError as error:
                    refused.append(f"{name}, {asked.id}, seed {seed}: {error.headline}")
            checked[asked.id] += 1
        print(f"{asked.id}  {name}: {len(refused) - before} refused")
    what = f"known right answers, each checked on the inputs of {N_SEEDS} seeds, in one process"
    keep("right_answers", what, checks=checked.total(), checks_by_exercise=dict(checked), refused=refused)
    print(f"{checked.total()} checks, {len(refused)} refused")


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
