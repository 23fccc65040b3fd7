"""The flow of an image through a model as a picture: boxes with shapes, drawn from a trace.

A box is a step; a frame is a call that is shown with the steps inside it, a loop once with its number of turns. Arrows
are what the trace saw: which step's tensor another step used. A residual connection shows as an arc past its branch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from vitcourse.trace.record import Row, Trace, together

BOX, INSET, LEFT, TOP = 400, 16, 24, 20
HEIGHT, GAP, HEAD = 46, 26, 30
CHARACTERS = 48

# Inside a page the picture takes the page's text colour; alone, the reader's light or dark.
STYLE = """
svg:root { color: #1f2328; background: #ffffff; }
@media (prefers-color-scheme: dark) { svg:root { color: #e6edf3; background: #0d1117; } }
.box { fill: currentColor; fill-opacity: 0.06; stroke: currentColor; stroke-opacity: 0.55; }
.frame { fill: none; stroke: currentColor; stroke-opacity: 0.55; stroke-dasharray: 5 4; }
.arrow { fill: none; stroke: currentColor; stroke-width: 1.3; }
.head { fill: currentColor; }
text { fill: currentColor; font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.shape { font-size: 12px; opacity: 0.8; }
.title { font-weight: bold; }
"""


@dataclass
class Box:
    """One step of the picture, and the steps shown inside it."""

    row: Row
    inside: list["Box"] = field(default_factory=list)
    x: float = 0
    y: float = 0
    width: float = BOX
    height: float = HEIGHT

    def holds(self, step: int) -> bool:
        """Whether a step of the trace happened in here."""
        return self.row.span[0] <= step <= self.row.span[1]


def flow_svg(trace: Trace) -> str:
    """The trace as an SVG picture, to be put into a page or a file of its own."""
    boxes = _boxes(trace.steps)
    _fit(boxes)
    bottom = _place(boxes, LEFT, TOP)
    drawn = [*_drawn(boxes)]
    identity = hashlib.sha256("".join(drawn).encode()).hexdigest()[:8]
    width, height = LEFT + BOX + 2 * INSET + 90, bottom + TOP - GAP
    title = f"The flow of tensors through {trace.name}"
    words = "; ".join(_words(boxes))
    arrows = "".join(_arrows(boxes, identity))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-labelledby="title-{identity} words-{identity}">'
        f'<title id="title-{identity}">{escape(title)}</title><desc id="words-{identity}">{escape(words)}</desc>'
        f"<style>{STYLE}</style>"
        f'<defs><marker id="head-{identity}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>'
        f"{''.join(drawn)}{arrows}</svg>"
    )


def _boxes(rows: list[Row]) -> list[Box]:
    """The first level of a trace, with the calls opened that call something themselves."""
    boxes: list[Box] = []
    for row in rows:
        if row.depth == 0:
            boxes.append(Box(row))
        elif row.depth == 1:
            boxes[-1].inside.append(Box(row))
    for box in boxes:
        # What is only arithmetic, a normalisation say, stays closed: its shapes tell nothing of the flow.
        if not any(_calls(inner.row, rows) for inner in box.inside):
            box.inside.clear()
    return boxes


def _calls(row: Row, rows: list[Row]) -> bool:
    place = next(k for k, other in enumerate(rows) if other is row)
    deeper = place + 1 < len(rows) and rows[place + 1].depth > row.depth
    return deeper or row.op[:1].isupper()


def _fit(boxes: list[Box]) -> None:
    for box in boxes:
        if box.inside:
            box.width = BOX + 2 * INSET
            box.height = HEAD + GAP + len(box.inside) * (HEIGHT + GAP) + 4


def _place(boxes: list[Box], x: float, y: float) -> float:
    for box in boxes:
        box.x, box.y = (x, y) if box.inside else (x + INSET, y)
        _place(box.inside, x, y + HEAD + GAP)
        y += box.height + GAP
    return y


def _short(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"


def _drawn(boxes: list[Box]) -> Iterator[str]:
    for box in boxes:
        row = box.row
        rectangle = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"'
        times = f"× {row.repeat} {row.unit}".rstrip() if row.repeat > 1 else ""
        if box.inside:
            yield f'<rect class="frame" {rectangle}/>'
            yield _text(box.x + 12, box.y + 20, _short(f"{row.label}  {times}".rstrip()), "title")
            yield from _drawn(box.inside)
        else:
            yield f'<rect class="box" {rectangle}/>'
            yield _text(box.x + 12, box.y + 19, _short(f"{row.label}  {times}".rstrip()), "")
            yield _text(box.x + 12, box.y + 37, _short(together(row.shapes)), "shape")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'


def _arrows(boxes: list[Box], identity: str) -> Iterator[str]:
    yield from _level(boxes, None, identity)


def _level(boxes: list[Box], frame: Box | None, identity: str) -> Iterator[str]:
    """The arrows between boxes of one column; what comes from outside a frame comes through its top."""
    for index, box in enumerate(boxes):
        sources = {_source(boxes[:index], step, frame) for step in box.row.inputs}
        for source in sorted((s for s in sources if s is not None), reverse=True):
            if source == index - 1:
                yield _straight(_bottom(boxes, source, frame), box.y, identity)
            else:
                yield _arc(_bottom(boxes, source, frame), box, identity)
        if box.inside:
            yield from _level(box.inside, box, identity)
    if frame is not None and boxes:
        last = boxes[-1].y + boxes[-1].height
        yield f'<path class="arrow" d="M{_middle():g},{last:g} V{frame.y + frame.height:g}"/>'


def _source(before: list[Box], step: int, frame: Box | None) -> int | None:
    for index, box in enumerate(before):
        if box.holds(step):
            return index
    return -1 if frame is not None and step < frame.row.span[0] else None


def _bottom(boxes: list[Box], source: int, frame: Box | None) -> float:
    if source < 0 and frame is not None:
        return frame.y + HEAD
    return boxes[source].y + boxes[source].height


def _middle() -> float:
    return LEFT + INSET + BOX / 2


def _straight(start: float, end: float, identity: str) -> str:
    x = _middle()
    return f'<path class="arrow" d="M{x:g},{start:g} V{end:g}" marker-end="url(#head-{identity})"/>'


def _arc(start: float, box: Box, identity: str) -> str:
    x, right = _middle(), LEFT + INSET + BOX
    end = box.y + box.height / 2
    out = right + 34
    return (
        f'<path class="arrow" d="M{x:g},{start + 6:g} H{out - 10:g} Q{out:g},{start + 6:g} {out:g},{start + 16:g} '
        f'V{end - 10:g} Q{out:g},{end:g} {out - 10:g},{end:g} H{right:g}" marker-end="url(#head-{identity})"/>'
    )


def _words(boxes: list[Box]) -> Iterator[str]:
    for box in boxes:
        yield f"{box.row.label} gives {box.row.cell}"
        if box.inside:
            yield f"inside: {', then '.join(_words(box.inside))}"
