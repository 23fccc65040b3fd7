"""The course as records: chapters and exercises, read from course.toml, the one list of them."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from vitcourse.errors import RequestError, naming_what_lacks


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is to be written (names), which exercises it calls (needs), which functions it builds.

    given names what its check hands over that takes time to load: an optimizer; points is what a pass is worth.
    """

    id: str
    module: str
    names: tuple[str, ...]
    title: str
    needs: tuple[str, ...]
    builds: tuple[str, ...]
    hints: tuple[str, ...]
    given: tuple[str, ...] = ()
    points: float = 1.0

    @property
    def all_needs(self) -> list["Exercise"]:
        """Every exercise that this one stands on, however far below, in the order of the course."""
        below = [other for needed in self.needs for other in (exercise(needed), *exercise(needed).all_needs)]
        return [other for other in exercises() if other in below]


@dataclass(frozen=True)
class Chapter:
    """One chapter: a module in chapters/ and in solutions/, and the exercises in it."""

    number: int
    module: str
    title: str
    writes: str
    minutes: int
    exercises: tuple[Exercise, ...]

    @property
    def words(self) -> tuple[str, str, str]:
        """What it may be called on the command line: "2", "ch02", "ch02_tokens"."""
        return str(self.number), self.module.partition("_")[0], self.module


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files("vitcourse").joinpath("course.toml").read_text(encoding="utf-8"))


@cache
def chapters() -> tuple[Chapter, ...]:
    """All chapters, in order."""
    return tuple(_chapter(**entry) for entry in _data()["chapter"])


@cache
def exercises() -> tuple[Exercise, ...]:
    """All exercises, in order."""
    return tuple(entry for chapter in chapters() for entry in chapter.exercises)


def minutes(name: str) -> int:
    """How long a page takes: "03_attention", "00_start"; "first_check" is the way to the first green check."""
    known: dict[str, int] = _data()["minutes"] | {
        entry.module.removeprefix("ch"): entry.minutes for entry in chapters()
    }
    return known[name]


def exercise(id: str) -> Exercise:
    """The exercise of that id. Raises RequestError when there is none."""
    for entry in exercises():
        if entry.id == id:
            return entry
    raise RequestError(f"there is no exercise {id}; the exercises are {exercises()[0].id} to {exercises()[-1].id}")


def chapter(word: str) -> Chapter:
    """The chapter that "2", "ch02" or "ch02_tokens" means. Raises RequestError when there is none."""
    for entry in chapters():
        if word in entry.words:
            return entry
    known = ", ".join(entry.words[1] for entry in chapters())
    raise RequestError(f"there is no chapter {word!r}; type one of {known}")


def select(what: str | None) -> list[Exercise]:
    """The exercises that a word of the command line means: "1.3" that one, "1" all of chapter 1, None all.

    Raises RequestError for any other word.
    """
    meant = [own for entry in chapters() for own in entry.exercises if what in (None, own.id, *entry.words)]
    if not meant:
        raise RequestError(
            f"there is no exercise or chapter {what!r}; type a chapter (1 to {chapters()[-1].number}) "
            f"or an exercise ({exercises()[0].id} to {exercises()[-1].id})"
        )
    return meant


def _chapter(exercise: list[dict[str, Any]], **about: Any) -> Chapter:
    for own in exercise:
        own |= {key: tuple(value) for key, value in own.items() if isinstance(value, list)}
    unsaid: dict[str, Any] = {"module": about["module"], "needs": (), "builds": ()}
    return Chapter(**about, exercises=tuple(_exercise(**unsaid | own) for own in exercise))


def _exercise(**about: Any) -> Exercise:
    with naming_what_lacks(f"course.toml, exercise {about.get('id', 'without an id')}"):
        return Exercise(**about)
