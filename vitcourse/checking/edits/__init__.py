"""What was done to the reference: small edits of it, made by rules on its syntax tree, each with words for a learner.

No rule knows an exercise. A rule looks at one place of a function (a statement, an expression) and says what people
write there by mistake; the words are filled in with the outline's steps and the contract's names.
"""

import ast
import dataclasses
from collections.abc import Iterator
from functools import cache

from vitcourse.checking.edits import (
    axes,
    calls,
    conditions,
    extras,
    functions,
    layers,
    patterns,
    rewriting,
    statements,
    values,
)
from vitcourse.checking.edits.reference import Function, chapter, functions_of
from vitcourse.checking.edits.telling import agreed, shortened
from vitcourse.checking.edits.trees import Change
from vitcourse.checking.misconceptions import Hypothesis
from vitcourse.course import Exercise

RULES = (axes, calls, conditions, extras, functions, layers, rewriting, statements, patterns, values)

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
    seen: set[int] = set()
    found: list[Hypothesis] = []
    for change in sorted(changes, key=lambda change: change.rank):
        definitions = _applied(exercise, change)
        known = chapter(exercise.module).known
        number = hash(tuple(known.digest(definition) for definition in definitions))
        if definitions and number not in seen:
            seen.add(number)
            found.append(Hypothesis(exercise.id, shortened(change.says), agreed(change.says), definitions))
        if len(found) == _MOST:
            break
    return found


def _changes(own: list[Function]) -> Iterator[Change]:
    for rules in RULES:
        yield from rules.changes(own)


def _applied(exercise: Exercise, change: Change) -> tuple[ast.stmt, ...]:
    """The definitions of the chapter that must run again, with the change in them; none where it changes nothing."""
    whole = chapter(exercise.module)
    within = whole.known.within(change)
    own, below = functions_of(exercise)
    names = {function.name.partition(".")[0]: function.definition for function in own + below}
    known = whole.known
    new = {name: change.applied(node, within) for name, node in names.items() if id(node) in within}
    changed = {name for name, node in new.items() if known.digest(node) != known.digest(names[name])}
    again = [
        new.get(node.name, node)
        for node in whole.needing(changed)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names
    ]
    return tuple(again)
