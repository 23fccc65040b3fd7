"""What a learner's unfinished or faulty code does to a training run, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercises
from vitcourse.errors import RequestError, RunError
from vitcourse.progress import missing_exercises

TRAINER = "ch05_vit"


def load_trainer(code: CodeSet) -> ModuleType:
    """Chapter 5 of a set of code, which trains the model of the chapters before.

    Raises RequestError when an exercise without which there is no training is not started, or isn't there.
    """
    _require_written(code)
    chapter = code.module(TRAINER)
    for exercise in exercises():
        for name in exercise.names:
            if exercise.module == TRAINER and not hasattr(chapter, name):
                file = code.shown(code.file(TRAINER))
                raise RequestError(f"{file} has no {name}; to see what is asked for, type vitcourse hint {exercise.id}")
    return chapter


def _require_written(code: CodeSet) -> None:
    missing = missing_exercises(code)
    needed = [exercise for exercise in missing if exercise in _needed_to_train()]
    if not needed:
        return
    more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
    first = missing[0]
    raise RequestError(
        f"training needs exercise {needed[0].id} ({needed[0].title}){more}, not written yet; "
        f"go on with {first.id}: type vitcourse check {first.id}, or vitcourse hint {first.id}"
    )


def _needed_to_train() -> list[Exercise]:
    last = [exercise for exercise in exercises() if exercise.module == TRAINER]
    return last + [needed for exercise in last for needed in exercise.all_needs]


@contextmanager
def faults_in_one_line(code: CodeSet) -> Iterator[None]:
    """Turn what a learner's code raises into one line with the place; the course's own faults keep their traceback."""
    try:
        yield
    except (RequestError, RunError):
        raise
    except NotImplementedError as error:
        where = code.line_of(error)
        if where is None:
            raise
        raise RequestError(f"{where} is not written yet: {_line(error)}") from error
    except Exception as error:
        where = code.line_of(error)
        if where is None or code.name == "solutions":
            raise
        raise RunError(
            f"{where}: {type(error).__name__}: {_line(error)}; to find out why, type vitcourse check"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
