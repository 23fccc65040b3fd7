"""Which mistake it is: the hypothesis that can't be told from the learner's answer by anything that was observed.

Known wrong answers come first, then small edits of the reference, then two known ones at once. Each is asked all that
the check asked, in this process: no learner's code runs here.
"""

import ast
import io
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from itertools import combinations, zip_longest
from types import CodeType
from typing import Any

import torch

from vitcourse.checking.edits import edits
from vitcourse.checking.edits.reference import chapter, definitions
from vitcourse.checking.edits.trees import bare
from vitcourse.checking.evidence import alike
from vitcourse.checking.misconceptions import Hypothesis, Misconception, misconceptions
from vitcourse.checking.subjects import Question, Side
from vitcourse.codesets import load_code
from vitcourse.course import Exercise
from vitcourse.worker.slips import stated
from vitcourse.worker.workshop import Observation, Workshop, floats_of

Questions = Sequence[Question]

SECONDS = {"list": 3.0, "edit": 0.8, "pair": 0.5}  # of the processor, that each part of a search may take
_COMPARED = 6  # mistakes that explain as much, of which more would take too long


@dataclass(frozen=True)
class Naming:
    """A name found; what the learner is told; its kind: of the list, a pair or an edit."""

    name: str
    says: str
    kind: str


def references() -> Workshop:
    """The references, ready to be asked."""
    code = load_code("solutions")
    return Workshop(lambda module, name: getattr(code.module(module), name))


def named(
    exercise: Exercise,
    questions: Questions,
    onward: Callable[[], Questions],
    lines: Sequence[str] = (),
) -> Naming | None:
    """The mistake that explains all until the check failed; None where none does, or several do that say other things.

    onward asks the rest of the check, once there is something to tell apart: a mistake that explains this too is
    preferred to one that explains only what came until the check failed. Two at once are thought of where no single
    one explains it, and must explain all. lines are the statements of the answer: what stands there as it does in the
    reference is no edit's mistake.
    """
    right = list(_replayed(questions, references()))
    if all(alike(question.seen, seen, question) for question, seen in zip(questions, right, strict=False)):
        return None  # nothing observed differs: what failed is something that hypotheses can't show
    rest = cache(onward)
    first: Naming | None = None
    numbers = floats_of(questions[-1].seen.result)
    lost = bool(numbers) and not any(bool(part.isfinite().any()) for part in numbers)  # as by many mistakes
    for kind, hypotheses in (("list", _known), ("edit", edits), ("pair", _pairs)):
        if kind != "list" and (lost or (first is not None and kind == "pair")):
            break
        with _silence():
            found, whole = _among(exercise, kind, hypotheses(exercise), questions, rest, lines)
            most = 2 if questions[-1].seen.raised or not whole else 3  # an exception tells little
            naming = _naming(kind, whole or (found if kind != "pair" else []), most)
            if naming and not whole and any(_by_chance(exercise, one, questions[-1], rest) for one in found):
                naming = None
        if whole and naming is not None:
            return naming
        first = first or naming
    return first


@contextmanager
def _silence() -> Iterator[None]:
    """What a hypothesis prints, or Python has to say of it, is nobody's business."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _among(
    exercise: Exercise,
    kind: str,
    group: Iterable[Hypothesis],
    questions: Questions,
    rest: Callable[[], Questions],
    lines: Sequence[str],
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """Those that explain what was seen until the check failed; and those of them that explain the rest too.

    An edit has to be in the answer's text; what is known is told by its effect, wherever that comes from.
    """
    found: dict[str, Hypothesis] = {}
    whole: list[Hypothesis] = []
    until, edit = time.process_time() + SECONDS[kind], kind == "edit"
    for hypothesis in group:
        if len(whole) == (3 if edit else 2):
            break
        if time.process_time() > until:
            found = found if whole else {}  # what wasn't tried may explain as much
            break
        said = hypothesis.says in (one.says for one in whole)  # of two with the same words, either may be it
        fits = not said and _explains(exercise, hypothesis, questions)
        if fits and not (edit and _stands(exercise, hypothesis, lines)):
            found.setdefault(hypothesis.says, hypothesis)
            if _explains(exercise, hypothesis, rest()):
                found[hypothesis.says] = hypothesis
                whole.append(hypothesis)
    if not whole and questions[-1].request["do"] == "make":  # what a module holds says little of how it runs
        found = {says: one for says, one in found.items() if _breaks_alike(side_of(exercise, one), rest())}
    if whole or not 1 < len(found) < _COMPARED:
        return list(found.values()), whole
    # Those that explain most of the rest: what can be told apart there doesn't look the same from outside.
    explained = {one: len(_explained(side_of(exercise, one), rest())) for one in found.values()}
    return [one for one, count in explained.items() if count == max(explained.values())], whole


def _by_chance(exercise: Exercise, one: Hypothesis, last: Question, rest: Callable[[], Questions]) -> bool:
    """Whether much of what goes wrong in calls as the last is not explained, or a call is right that it makes wrong.

    What is to be refused doesn't count: how it is refused is often another matter. One number that comes again, the
    share of right answers say, counts once: it says nothing new, and is soon met by chance.
    """
    if last.request["do"] != "call":
        return False
    calls = {n: question for n, question in enumerate(rest()) if question.expects != "error"}
    right, explained = _explained(references(), rest()), _explained(side_of(exercise, one), rest())
    wrong = {n for n in calls if calls[n].request.get("target") == last.request["target"]} - right
    results = {n: calls[n].seen.result for n in wrong}
    outcomes = {n: repr(result) if isinstance(result, int | float) else n for n, result in results.items()}
    all_of_them, told = set(outcomes.values()), {outcomes[n] for n in wrong & explained}
    return bool((right - explained) & set(calls)) or (len(all_of_them) > 1 and 2 * len(told) <= len(all_of_them))


def _stands(exercise: Exercise, one: Hypothesis, lines: Sequence[str]) -> bool:
    """Whether all that a hypothesis changes stands in the answer as in the reference, word for word, in its place."""
    names = {getattr(node, "name", "") for node in one.definitions}
    whole = definitions(chapter(exercise.module).tree)
    right, wrong = stated(node for node in whole if node.name in names), stated(one.definitions)
    own = SequenceMatcher(None, right, lines, autojunk=False).get_matching_blocks()
    place = {a + k: b + k for a, b, size in own for k in range(size)}
    steps = [step for step in SequenceMatcher(None, right, wrong, autojunk=False).get_opcodes() if step[0] != "equal"]
    # Of what is left out, one line is enough; where something is put in, the two lines round it stand side by side.
    return bool(steps) and all(
        place.get(a, -1) == place.get(a - 1, -3) + 1
        if kind == "insert"
        else (any if kind == "delete" else all)(n in place for n in range(a, b))
        for kind, a, b, *_ in steps
    )


def _naming(kind: str, found: Sequence[Hypothesis], most: int) -> Naming | None:
    if not 0 < len(found) <= most:
        return None
    places: dict[str, list[str]] = {}  # what is said without the step, and with it
    for one in found:
        places.setdefault(re.sub(r" \([^()]*\)\.$", ".", one.says), []).append(one.says)
    says, *others = [with_step[0] if len(with_step) == 1 else says for says, with_step in places.items()]
    if others:
        says = f"Either: {says} Or, which looks the same from outside: {others[0]}"
    if len(others) > 1:
        says += " Or the like in another place."
    return Naming(found[0].name, says, kind)


@cache
def _known(exercise: Exercise) -> tuple[Hypothesis, ...]:
    return tuple(_hypothesis(exercise, wrong) for wrong in misconceptions() if wrong.exercise == exercise.id)


@cache
def _pairs(exercise: Exercise) -> tuple[Hypothesis, ...]:
    """Two known mistakes at once, wherever both fit into the reference."""
    found = []
    for one, other in combinations([wrong for wrong in misconceptions() if wrong.exercise == exercise.id], 2):
        says = f"Two things at once. {one.says} And: {other.says}"
        both = Misconception(exercise.id, f"{one.name}; {other.name}", says, one.edits + other.edits)
        with suppress(ValueError, SyntaxError):
            found.append(_hypothesis(exercise, both))
    return tuple(found)


def _hypothesis(exercise: Exercise, wrong: Misconception) -> Hypothesis:
    return Hypothesis(wrong.name, wrong.says, changed(exercise, wrong.source()))


def changed(exercise: Exercise, text: str) -> tuple[ast.stmt, ...]:
    """The definitions of a chapter's text that are others than the reference's, and the exercise's own."""
    before = _statements(load_code("solutions").source(exercise.module) or "").values()
    return tuple(
        node
        for node, lines in _statements(text).items()
        if lines not in before or getattr(node, "name", "") in exercise.names
    )


@lru_cache(2)
def _statements(source: str) -> dict[ast.stmt, str]:
    """What stands at a module's top level, each with its lines: to compare these takes a tenth of comparing trees."""
    lines, last, found = source.splitlines(), 0, {}
    for node in ast.parse(source).body:
        assert node.end_lineno is not None
        found[node] = "\n".join(lines[last : node.end_lineno]).strip()
        last = node.end_lineno
    return found


@cache
def _compiled(hypothesis: Hypothesis) -> CodeType:
    tree = ast.Module([bare(node) for node in hypothesis.definitions], [])
    return compile(ast.fix_missing_locations(tree), "<hypothesis>", "exec")


def side_of(exercise: Exercise, hypothesis: Hypothesis) -> Side:
    """What answers as the hypothesis would, with nothing asked yet.

    What the hypothesis raises where it is defined comes through.
    """
    code = load_code("solutions")
    space: dict[str, Any] = {"torch": torch, **vars(code.module(exercise.module))}  # edits may call it
    own = {node.name for node in hypothesis.definitions if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    exec(_compiled(hypothesis), space)

    def find(module: str, name: str) -> Any:
        if module == exercise.module and name in own:
            return space[name]
        return getattr(code.module(module), name)

    return Workshop(find, whole=False)


def _explains(exercise: Exercise, hypothesis: Hypothesis, questions: Questions) -> bool:
    """Whether the hypothesis gives the learner's observation at every question."""
    try:
        side = side_of(exercise, hypothesis)
    except Exception:
        return False
    answers = zip_longest(questions, _replayed(questions, side))
    return all(seen is not None and alike(question.seen, seen, question) for question, seen in answers)


def _explained(side: Side, questions: Questions) -> set[int]:
    """The numbers of the questions at which a side gives the learner's observation."""
    answers = enumerate(zip(questions, _replayed(questions, side), strict=False))
    return {number for number, (question, seen) in answers if alike(question.seen, seen, question)}


def _breaks_alike(side: Side, questions: Questions) -> bool:
    """Whether a side raises where the learner's answer does, and nowhere else; draws nothing that this doesn't draw.

    And whether what the learner's module was seen to hold later on, when something has been called, is held as well.
    """
    answers = zip(questions, _replayed(questions, side), strict=False)
    return all(_breaks_as(question.seen, seen, question.request["do"]) for question, seen in answers)


def _breaks_as(own: Observation, seen: Observation, asked: str) -> bool:
    drawn = asked != "call" or bool(own.raised) or own.draws >= seen.draws  # what raises may do so before it draws
    held = asked != "values" or set(own.result or ()) <= set(seen.result or ())
    return bool(own.raised) == bool(seen.raised) and drawn and held


def _replayed(questions: Questions, side: Side) -> Iterator[Observation]:
    for question in questions:
        try:
            yield side.answer(question.request)
        except Exception:  # a hypothesis that hasn't got what is asked for, a slot that was never made
            return
