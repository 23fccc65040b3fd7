"""What may be wrong with an answer: known wrong answers, each an edit of the reference, and hypotheses made of them."""

import ast
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vitcourse.codesets import load_code
from vitcourse.course import exercise
from vitcourse.errors import naming_what_lacks


@dataclass(frozen=True)
class Misconception:
    """One wrong answer: its exercise, its name, what a learner is told, and the edits (old, new) that make it."""

    exercise: str
    name: str
    says: str
    edits: tuple[tuple[str, str], ...]

    def source(self) -> str:
        """The reference's chapter with the mistake in it.

        Raises ValueError when an edit no longer fits the reference: its old text must stand exactly once under the
        exercise's heading, or else among the chapter's first lines, where the imports are.
        """
        module, heading = exercise(self.exercise).module, f"# Exercise {self.exercise}\n"
        parts = re.split(r"(?m)(?=^# Exercise )", load_code("solutions").source(module) or "")
        own = next((number for number, part in enumerate(parts) if part.startswith(heading)), 0)
        for old, new in self.edits:
            place = 0 if old in parts[0] and old not in parts[own] else own
            if (times := parts[place].count(old)) != 1:
                raise ValueError(
                    f"{self.exercise} {self.name!r} in misconceptions.toml doesn't fit solutions/{module}.py: "
                    f"its old text stands there {times} times, not once: {old!r}"
                )
            parts[place] = parts[place].replace(old, new)
        return "".join(parts)


@dataclass(frozen=True)
class Hypothesis:
    """One way in which an answer may differ from the reference: words for a learner, and the chapter with it in it."""

    name: str
    says: str
    definitions: tuple[ast.stmt, ...]


@cache
def misconceptions() -> tuple[Misconception, ...]:
    """The wrong answers that the checks are known to refuse, from misconceptions.toml, exercise by exercise."""
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return tuple(_misconception(**entry) for entry in data["wrong"])


def _misconception(**about: Any) -> Misconception:
    about |= {key: tuple(map(tuple, value)) for key, value in about.items() if key == "edits"}
    which = f"{about.get('exercise', 'without an exercise')} {about.get('name', '')!r}"
    with naming_what_lacks(f"misconceptions.toml, {which}"):
        return Misconception(**about)
