"""The chapters that a run takes, a learner's or the reference's; what is unfinished or faulty there, in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise, exercise, exercises
from vitcourse.errors import RequestError, RunError, in_one_line
from vitcourse.progress import missing_exercises
from vitcourse.training.presets import TrainConfig, option

TRAINER = "ch05_vit"
TRANSFER = "ch07_transfer"


def load_trainer(code: CodeSet) -> ModuleType:
    """Chapter 5 of a set of code, which trains the model of the chapters before.

    Raises RequestError when an exercise without which there is no training is not started, or isn't there.
    """
    last = [exercise for exercise in exercises() if exercise.module == TRAINER]
    return _loaded(code, TRAINER, last, "training")


def load_transfer(code: CodeSet, config: TrainConfig) -> ModuleType | None:
    """Chapter 7, where the configuration asks for something of it. Raises RequestError as load_trainer does."""
    asked = [
        (option(name), exercise(which))
        for name, which in (("init", "7.2"), ("layer_decay", "7.3"), ("mixup", "7.4"), ("micro_batch", "7.5"))
        if getattr(config, name) != getattr(TrainConfig, name)
    ]
    for typed, needed in asked:
        _loaded(code, TRANSFER, [needed], typed)
    return code.module(TRANSFER) if asked else None


def _loaded(code: CodeSet, module: str, asked: list[Exercise], what: str) -> ModuleType:
    _require_written(code, asked, what)
    chapter = code.module(module)
    for needed in asked:
        for name in needed.names:
            if not hasattr(chapter, name):
                file = code.shown(code.file(module))
                raise RequestError(f"{file} has no {name}; to see what is asked for, type vitcourse hint {needed.id}")
    return chapter


def _require_written(code: CodeSet, asked: list[Exercise], what: str) -> None:
    missing = missing_exercises(code)
    all_asked = asked + [needed for exercise in asked for needed in exercise.all_needs]
    needed = [exercise for exercise in missing if exercise in all_asked]
    if not needed:
        return
    more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
    # The first of all that is missing, where it is on the way.
    first = missing[0] if missing[0].module <= needed[0].module else needed[0]
    raise RequestError(
        f"{what} needs exercise {needed[0].id} ({needed[0].title}){more}, not written yet; "
        f"go on with {first.id}: type vitcourse check {first.id}, or vitcourse hint {first.id}"
    )


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
        raise RequestError(f"{where} is not written yet: {in_one_line(error)}") from error
    except (Exception, SystemExit) as error:  # a sys.exit of the learner's is no end of the command
        called = _called_wrongly(error)
        where = code.line_of(error) or (code.shown_as(called.module) if called else None)
        if where is None or code.name == "solutions":
            raise
        check = f"vitcourse check{f' {called.id}' if called else ''}"
        raise RunError(
            f"{where}: {type(error).__name__}: {in_one_line(error)}; to find out why, type {check}"
        ) from error


def _called_wrongly(error: BaseException) -> Exercise | None:
    """The exercise whose function doesn't take what it is given: such a call fails before any line of it has run."""
    said = re.match(r"(\w+)(\.\w+)?\(\) (got|takes|missing) ", str(error)) if isinstance(error, TypeError) else None
    return next((asked for asked in exercises() if said and said[1] in asked.names), None)
