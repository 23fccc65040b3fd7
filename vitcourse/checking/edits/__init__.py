"""What was done to the reference: small edits of it, made by rules on its syntax tree, each with words for a learner.

No rule knows an exercise. A rule looks at one place of a function (a statement, an expression) and says what people
write there by mistake; the words are filled in with the outline's steps and the contract's names.
"""

import ast
import dataclasses
from collections.abc import Iterator
from functools import cache

from vitcourse.checking.edits import exchanges, kinds, rewriting, statements, values
from vitcourse.checking.edits.reference import Function, chapter, functions_of
from vitcourse.checking.edits.telling import agreed, shortened
from vitcourse.checking.edits.trees import Change
from vitcourse.checking.misconceptions import Hypothesis
from vitcourse.course import Exercise

RULES = (exchanges, kinds, rewriting, statements, values)

# How much less likely a mistake is in what the exercise stands on: an earlier one, written anew in its place.
_BELOW = 6

# The least plausible rank that is tried there.
_PLAUSIBLE = 22

# So many edits can be tried in about a second.
_MOST = 800


@cache
def edits(exercise: Exercise) -> list[Hypothesis]:
    """Single edits of the reference's answer to an exercise, the most plausible first, no two alike."""
    own, below = functions_of(exercise)
    plausible = (change for change in _changes(below) if change.rank <= _PLAUSIBLE)
    changes = [*_changes(own), *(dataclasses.replace(change, rank=change.rank + _BELOW) for change in plausible)]
    alone: dict[object, Change] = {}
    for change in sorted(changes, key=lambda change: change.rank):
        alone.setdefault(change.text, change)
    return [
        Hypothesis(shortened(change.says), agreed(change.says), _applied(exercise, change))
        for change in list(alone.values())[:_MOST]
    ]


def _changes(own: list[Function]) -> Iterator[Change]:
    for rules in RULES:
        yield from rules.changes(own)


def _applied(exercise: Exercise, change: Change) -> tuple[ast.stmt, ...]:
    """The definitions of the chapter that must run again, with the change in them."""
    whole = chapter(exercise.module)
    within = change.within(whole.parents)
    own, below = functions_of(exercise)
    names = {function.name.partition(".")[0]: function.definition for function in own + below}
    new = {name: change.applied(node, within) for name, node in names.items() if id(node) in within}
    return tuple(new.get(node.name, node) for node in whole.needing(set(new)) if node.name in names)
