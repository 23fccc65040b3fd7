"""What a learner has started: chapters compared with the stubs, as syntax trees and without running them."""

from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercises
from vitcourse.given import given
from vitcourse.stubs import pristine
from vitcourse.worker.started import started


def is_started(code: CodeSet, exercise: Exercise) -> bool:
    """Whether anything in the exercise's body differs from the stub's.

    Comments, docstrings, signatures and layout don't count; whatever else was touched does, whatever it raises.
    A chapter whose file is missing is not started.
    """
    source = code.source(exercise.module)
    return source is not None and started(source, stubs(code, exercise.module), exercise.names)


def missing_exercises(code: CodeSet) -> list[Exercise]:
    """The exercises of the course that are not started in this set."""
    return [exercise for exercise in exercises() if not is_started(code, exercise)]


def stubs(code: object, module: str) -> list[str]:
    """What nobody has written in a chapter: its stub, and the one of an older course that the learner was given."""
    older = given().get(module) if isinstance(code, CodeSet) and code.name == "chapters" else None
    return [pristine(module), older] if older else [pristine(module)]
