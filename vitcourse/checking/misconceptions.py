"""What may be wrong with an answer: known wrong answers, each an edit of the reference, and hypotheses made of them."""

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vitcourse.codesets import load_code
from vitcourse.course import exercise


@dataclass(frozen=True)
class Misconception:
    """One wrong answer: its exercise, its name, what a learner is told, and the edits (old, new) that make it."""

    exercise: str
    name: str
    says: str
    edits: tuple[tuple[str, str], ...]

    def source(self) -> str:
        """The reference's chapter with the mistake in it.

        Raises ValueError when an edit no longer fits the reference: its old text must stand there exactly once.
        """
        text = load_code("solutions").source(exercise(self.exercise).module) or ""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.exercise} {self.name!r}: found {text.count(old)} times, not once: {old!r}")
            text = text.replace(old, new)
        return text


@dataclass(frozen=True)
class Hypothesis:
    """One way in which an answer may differ from the reference: words for a learner, and the chapter with it in it."""

    exercise: str
    name: str
    says: str
    definitions: tuple[ast.stmt, ...]


@cache
def misconceptions() -> tuple[Misconception, ...]:
    """The wrong answers that the checks are known to refuse, from misconceptions.toml, exercise by exercise."""
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(
        Misconception(entry["exercise"], entry["name"], entry["says"], tuple((old, new) for old, new in entry["edits"]))
        for entry in data["wrong"]
    )
