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


def require_written(code: CodeSet, config: TrainConfig) -> None:
    """Raise RequestError when an exercise without which there is no such run isn't written. Loads no torch."""
    for what, asked in _parts(config):
        below = [needed for entry in asked for needed in (*entry.all_needs, entry)]
        # A file that can't be read at all is said first: nobody can tell what is written in it.
        code.require_python(*dict.fromkeys(entry.module for entry in sorted(below, key=exercises().index)))
        missing = missing_exercises(code)
        needed = [entry for entry in missing if entry in below]
        if needed:
            more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
            # The first of all that is missing, where it is on the way.
            first = missing[0] if missing[0].module <= needed[0].module else needed[0]
            raise RequestError(
                f"{what} needs exercise {needed[0].id} ({needed[0].title}){more}, not written yet; "
                f"go on with {first.id}: type vitcourse check {first.id}, or vitcourse hint {first.id}"
            )


def load_chapters(code: CodeSet, config: TrainConfig) -> tuple[ModuleType, ModuleType | None]:
    """Chapter 5, which trains the model of the chapters before; and 7, where the configuration asks for some of it.

    Raises RequestError when an exercise without which there is no such run is not started, or isn't there.
    """
    require_written(code, config)
    loaded: dict[str, ModuleType] = {}
    for _, asked in _parts(config):
        for needed in asked:
            chapter = loaded[needed.module] = code.module(needed.module)
            for name in needed.names:
                if not hasattr(chapter, name):
                    file = code.shown_as(needed.module)
                    hint = f"vitcourse hint {needed.id}"
                    raise RequestError(f"{file} has no {name}; to see what is asked for, type {hint}")
    return loaded[TRAINER], loaded.get(TRANSFER)


def _parts(config: TrainConfig) -> Iterator[tuple[str, list[Exercise]]]:
    """What a run takes of the chapters, in words, and the exercises of it: the training, and what options ask for."""
    yield "training", [entry for entry in exercises() if entry.module == TRAINER]
    for name, which in (("init", "7.2"), ("layer_decay", "7.3"), ("mixup", "7.4"), ("micro_batch", "7.5")):
        if getattr(config, name) != getattr(TrainConfig, name):
            yield option(name), [exercise(which)]


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
