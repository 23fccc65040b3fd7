"""Quizzes as data: the body of a `quiz` directive, read and looked over."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import yaml

from vitcourse.errors import in_one_line


class QuizError(ValueError):
    """What is wrong with a quiz, in one line."""


@dataclass(frozen=True)
class Answer:
    """One answer to choose, and why it is right or wrong. The texts are MyST, in one line."""

    text: str
    right: bool
    why: str

    @property
    def end(self) -> str:
        """What ends the answer as a sentence, where its text doesn't."""
        return "" if self.text.endswith((".", "!", "?")) else "."


@dataclass(frozen=True)
class Question:
    """A question with its answers, of which exactly one is right."""

    text: str
    answers: tuple[Answer, ...]

    @property
    def shuffled(self) -> tuple[Answer, ...]:
        """The answers as they are shown: in an order that only their words decide, the same at every build.

        Whoever writes a question tends to write the right answer first, and readers notice.
        """
        chance = {answer: sha256(f"{self.text}\n{answer.text}".encode()).digest() for answer in self.answers}
        return tuple(sorted(self.answers, key=chance.__getitem__))


def parse(body: str) -> tuple[Question, ...]:
    """The questions of a quiz. Raises QuizError, in one line, when one is not whole."""
    try:
        entries = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise QuizError(f"not YAML: {in_one_line(error)}") from error
    if not isinstance(entries, list) or not entries:
        raise QuizError("a quiz is a list of questions, each beginning with '- question: '")
    return tuple(_question(entry, number) for number, entry in enumerate(entries, start=1))


def _question(entry: Any, number: int) -> Question:
    where = f"question {number}"
    if not isinstance(entry, dict) or set(entry) != {"question", "answers"}:
        raise QuizError(f"{where} needs 'question' and 'answers', and nothing else")
    if not isinstance(entry["answers"], list) or len(entry["answers"]) < 2:
        raise QuizError(f"{where} needs at least two answers")
    answers = tuple(_answer(item, f"{where}, answer {place}") for place, item in enumerate(entry["answers"], start=1))
    right = sum(answer.right for answer in answers)
    if right != 1:
        raise QuizError(f"{where} has {right} right answers; exactly one needs 'right: true'")
    return Question(_text(entry, "question", where), answers)


def _answer(item: Any, where: str) -> Answer:
    if not isinstance(item, dict) or not {"text", "why"} <= set(item) <= {"text", "why", "right"}:
        raise QuizError(f"{where} needs 'text' and 'why', and may have 'right: true', and nothing else")
    if item.get("right", False) not in (True, False):
        raise QuizError(f"{where}: 'right' is {item['right']!r}, and not true or false")
    return Answer(_text(item, "text", where), bool(item.get("right", False)), _text(item, "why", where))


def _text(item: dict[str, Any], key: str, where: str) -> str:
    # An unquoted number or yes is no text to YAML; to the author it was one.
    value = item[key]
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not text:
        raise QuizError(f"{where}: {key!r} is no text; put it in quotes")
    return text
