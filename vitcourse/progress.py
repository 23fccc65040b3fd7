"""What a learner has started: chapters compared with the stubs, as syntax trees and without running them.

So it is here that stubs are made anew where nothing is started.
"""

from contextlib import suppress

from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import Chapter, Exercise, chapters, exercises
from vitcourse.definitions import definitions
from vitcourse.places import CHAPTERS, root
from vitcourse.stubs import given, pristine, write_stubs
from vitcourse.worker.chapters import UNREADABLE
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


def refresh() -> list[str]:
    """Put the stubs into the clone's chapters/, where nothing is answered; a line for each file that wasn't as made."""
    code, said = load_code(root() / CHAPTERS), []
    for entry in chapters():
        if code.source(entry.module) == pristine(entry.module):
            continue
        answered = holds_answers(code, entry)
        said.append(f"{code.shown_as(entry.module)} {'holds answers' if answered else 'made'}")
        if not answered:
            write_stubs(code.folder, [entry.module])
    return said


def holds_answers(code: CodeSet, entry: Chapter) -> bool:
    """Whether a learner wrote something in the chapter. An exercise that is new to the course stands in none yet."""
    asked = entry.exercises
    with suppress(*UNREADABLE):
        there = definitions(code.source(entry.module) or "").keys()
        if there <= definitions(pristine(entry.module)).keys():
            asked = tuple(exercise for exercise in asked if there & set(exercise.names))
    return any(is_started(code, exercise) for exercise in asked)
