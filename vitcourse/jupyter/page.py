"""What a cell shows: a verdict with its cause, its example and the shape trace; the curve of a run."""

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vitcourse.checking.grading import FAILURES
from vitcourse.checking.judge import Verdict
from vitcourse.course import Exercise
from vitcourse.training.runs import Epoch

if TYPE_CHECKING:
    from vitcourse.trace import Trace

_STYLE = """
.vitcourse-verdict { border-left: .3em solid var(--mark); padding: .2em 0 .2em .9em; margin: .4em 0; color: inherit; }
.vitcourse-verdict p { margin: .3em 0; }
.vitcourse-verdict pre { margin: .4em 0; white-space: pre-wrap; background: none; color: inherit; }
.vitcourse-verdict .word { font-weight: 600; color: color-mix(in srgb, var(--mark) 40%, currentColor); }
"""
_MARKS = {"passed": "#1a7f4b", "blocked": "#9a6700"}


def show(html: str, text: str) -> None:
    """A page's fragment, and the same as text where there is no page."""
    from IPython.display import display

    display({"text/html": html, "text/plain": text}, raw=True)


def show_verdict(entry: Exercise, verdict: Verdict, traces: "Sequence[Trace]", here: Exercise | None) -> None:
    """What is wrong, an example, the shapes of one's own code, where to go on."""
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
        is_open = "" if passed else " open"
        parts.append(f"<details{is_open}><summary>shapes of your code</summary>{shapes}</details>")
    mark = _MARKS.get(verdict.status, "#b3261e")
    html = f"<style>{_STYLE}</style><div class='vitcourse-verdict' style='--mark: {mark}'>{''.join(parts)}</div>"
    lines = (f"{word}  {entry.id}  {entry.title}", headline, verdict.diagnosis, onward)
    show(html, "\n".join(filter(None, lines)))


def _onward(entry: Exercise, verdict: Verdict, here: Exercise | None) -> str:
    if verdict.status == "passed":
        return f"next: {here.id} {here.title}" if here else "every exercise has passed: %train --code chapters"
    words = f"a hint: %hint {entry.id}"
    if verdict.status in FAILURES and verdict.seed:
        words += f"; the same inputs again: %check {entry.id} --seed {verdict.seed}"
    return words


_EPOCH = re.compile(r"^epoch\s+(\d+)/(\d+)\b.*?loss\s+([\d.]+).*?accuracy\s+([\d.]+)%")


class Curve:
    """The loss and the accuracy of a run, drawn anew as each epoch's line comes."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self._handle: Any = None

    def read(self, line: str) -> None:
        """Take a line of what the run prints."""
        found = _EPOCH.search(line)
        if found is None:
            return
        epoch, total, loss, accuracy = (float(word) for word in found.groups())
        if epoch == 1:
            self.epochs = []  # a second run, with the other loss
        self.epochs.append(Epoch(int(epoch), loss, accuracy / 100, 0.0, 0.0, 0.0))
        self._draw(f"epoch {epoch:.0f} of {total:.0f}")

    def _draw(self, title: str) -> None:
        from IPython.display import Image, display

        from vitcourse.training.pictures import draw_curves, png

        picture = Image(png(draw_curves({"": self.epochs}, "images not trained on", title=title)), width=500)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
