"""What may be the matter with an answer: hypotheses, each a reference with one thing done to it."""

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One way in which an answer may differ from the reference: words for a learner, and the chapter with it in it."""

    exercise: str
    name: str
    says: str
    definitions: tuple[ast.stmt, ...]
