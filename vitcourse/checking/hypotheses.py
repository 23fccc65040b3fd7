"""The ways in which an answer may differ from the reference: words for a learner, and the chapter with it in it."""

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One way: its exercise, its name, what a learner is told, and the changed definitions of the chapter."""

    exercise: str
    name: str
    says: str
    definitions: tuple[ast.stmt, ...]
