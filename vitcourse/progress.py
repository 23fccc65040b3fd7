"""What a learner has started: chapters compared with the pristine stubs, as syntax trees and without running them."""

from functools import cache
from importlib import resources

from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercises
from vitcourse.worker.started import started


def is_started(code: CodeSet, exercise: Exercise) -> bool:
    """Whether anything in the exercise's body differs from the stub's.

    Comments, docstrings, signatures and layout don't count; whatever else was touched does, whatever it raises.
    A chapter whose file is missing is not started.
    """
    source = code.source(exercise.module)
    return source is not None and started(source, pristine(exercise.module), exercise.names)


def missing_exercises(code: CodeSet) -> list[Exercise]:
    """The exercises of the course that are not started in this set."""
    return [exercise for exercise in exercises() if not is_started(code, exercise)]


@cache
def pristine(module: str) -> str:
    """The text of a chapter's stub, as the course ships it."""
    return resources.files("vitcourse.pristine").joinpath(f"{module}.py").read_text(encoding="utf-8")
