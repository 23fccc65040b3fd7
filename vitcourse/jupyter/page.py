"""What a cell shows: a verdict with its cause, its example and the shape trace; the curve of a run."""

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vitcourse.checking.grading import FAILURES
from vitcourse.checking.judge import Verdict
from vitcourse.codesets import CodeSet
from vitcourse.course import Exercise

if TYPE_CHECKING:
    from vitcourse.trace.shown import Trace

_STYLE = """
.vitcourse-verdict { border-left: .3em solid var(--mark); padding: .2em 0 .2em .9em; margin: .4em 0; color: inherit; }
.vitcourse-verdict p { margin: .3em 0; }
.vitcourse-verdict pre { margin: .4em 0; white-space: pre-wrap; background: none; color: inherit; }
.vitcourse-verdict .word { font-weight: 600; color: var(--mark); }
"""
_MARKS = {"passed": "#1a7f4b", "blocked": "#9a6700"}


class Shown:
    """A page's fragment, and the same as text where there is no page."""

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def verdict_page(
    code: CodeSet, entry: Exercise, verdict: Verdict, traces: "Sequence[Trace]", here: Exercise | None
) -> tuple[str, str]:
    """A verdict as HTML and as text: what is wrong, an example, the shapes of one's own code, where to go on."""
    word = verdict.status.replace("-", " ")
    passed = verdict.status == "passed"
    headline = "" if passed else verdict.headline
    onward = _onward(entry, verdict, here)
    parts = [f"<p><span class='word'>{word}</span> {entry.id} {escape(entry.title)}</p>"]
    if headline:
        parts.append(f"<p><strong>{escape(headline)}</strong></p>")
    if verdict.diagnosis:
        parts.append(f"<pre>{escape(verdict.diagnosis)}</pre>")
    parts.append(f"<p>{escape(onward)}</p>")
    shapes = "".join(trace.to_html() for trace in traces)
    if shapes:
        parts.append(
            f"<details{' open' if not passed else ''}><summary>shapes of your code</summary>{shapes}</details>"
        )
    mark = _MARKS.get(verdict.status, "#b3261e")
    html = f"<style>{_STYLE}</style><div class='vitcourse-verdict' style='--mark: {mark}'>{''.join(parts)}</div>"
    text = "\n".join(
        part for part in (f"{word}  {entry.id}  {entry.title}", headline, verdict.diagnosis, onward) if part
    )
    return html, text


def _onward(entry: Exercise, verdict: Verdict, here: Exercise | None) -> str:
    if verdict.status == "passed":
        return f"next: {here.id} {here.title}" if here else "every exercise has passed: %train --code chapters"
    words = f"a hint: %hint {entry.id}"
    if verdict.status in FAILURES and verdict.seed:
        words += f"; the same inputs again: %check {entry.id} --seed {verdict.seed}"
    return words


_EPOCH = re.compile(r"^epoch\s+(\d+)/(\d+)\b.*?loss\s+([\d.]+)(?:.*?accuracy\s+([\d.]+)%)?")


class Curve:
    """The loss and the accuracy of a run, drawn anew as each epoch's line comes."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, float, float | None]] = []
        self._handle: Any = None

    def read(self, line: str) -> None:
        """Take a line of what the run prints."""
        found = _EPOCH.search(line)
        if found is None:
            return
        epoch, total, loss, accuracy = found.groups()
        if int(epoch) == 1:
            self.epochs = []  # a second run, with the other loss
        self.epochs.append((int(epoch), float(loss), float(accuracy) if accuracy else None))
        self._draw(int(total))

    def _draw(self, total: int) -> None:
        import matplotlib.pyplot as plt
        from IPython.display import Image, display

        from vitcourse.training.pictures import png

        figure, axes = plt.subplots(figsize=(6, 2.2), layout="constrained")
        at = [epoch for epoch, _, _ in self.epochs]
        axes.plot(at, [loss for _, loss, _ in self.epochs], "o-", color="#0072b2", label="loss")
        axes.set(xlim=(0.5, total + 0.5), xlabel="epoch", ylabel="loss", ylim=(0, None))
        accuracies = [accuracy for _, _, accuracy in self.epochs if accuracy is not None]
        if len(accuracies) == len(at):
            right = axes.twinx()
            right.plot(at, accuracies, "s--", color="#d55e00")
            right.set(ylabel="accuracy, %", ylim=(0, 100))
        picture = Image(png(figure))
        plt.close(figure)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
