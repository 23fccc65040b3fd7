"""The flow of tensors through a model as a picture: boxes with shapes, drawn from a trace.

A box is a step; a frame is a call that is shown with the steps inside it, a loop once with its number of turns. Arrows
are what the trace saw: which step's tensor another step used. What goes past a step, a residual connection, is an arc
in a lane of its own. The stripe of a box says of which kind it is, and so does the name of its operation.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape

from vitcourse.trace.record import Row, Steps, nested, require_depth, together

LEFT, TOP, INSET, HEIGHT, GAP, HEAD, LANE, CHARACTER = 24, 20, 18, 46, 26, 30, 16, 7.85
NARROWEST, WIDEST = 260, 560
KINDS = {
    "weights": "Linear Conv1d Conv2d Conv3d Embedding linear conv2d embedding NonDynamicallyQuantizableLinear",
    "mixing": "MultiheadAttention MultiHeadAttention scaled_dot_product_attention matmul einsum softmax bmm attention",
    "norm": "LayerNorm BatchNorm2d BatchNorm1d GroupNorm RMSNorm layer_norm batch_norm LayerNorm2d",
    "sum": "add sub mul div cat stack iadd",
}
# Inside a page the picture takes the page's text colour; alone, the reader's light or dark. The stripes hold in both.
STYLE = """
svg:root { color: #1f2328; background: #ffffff; }
@media (prefers-color-scheme: dark) { svg:root { color: #e6edf3; background: #0d1117; } }
.box { fill: currentColor; fill-opacity: 0.06; stroke: currentColor; stroke-opacity: 0.55; }
.frame { fill: none; stroke: currentColor; stroke-opacity: 0.55; stroke-dasharray: 5 4; }
.arrow { fill: none; stroke: currentColor; stroke-width: 1.3; }
.past { stroke-width: 1.8; stroke: #b4610a; }
.head { fill: currentColor; }
.stripe { fill: #8b949e; } .weights { fill: #2f74d0; } .mixing { fill: #8a52c8; } .norm { fill: #1a8f84; }
.sum { fill: #b4610a; }
text { fill: currentColor; font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.shape { font-size: 12px; opacity: 0.85; }
.title { font-weight: bold; }
.op { font-size: 11px; opacity: 0.75; text-anchor: end; }
@media print { svg:root { color: #000000; background: none; } }
"""


@dataclass
class Box:
    """One step of the picture, and the steps shown inside it."""

    row: Row
    inside: list["Box"]
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = HEIGHT

    @property
    def title(self) -> str:
        """The expression, and how often it is repeated."""
        row = self.row
        return f"{row.label}  × {row.repeat} {row.unit}".rstrip() if row.repeat > 1 else row.label

    def all(self) -> Iterator["Box"]:
        """The boxes inside, and those inside of them."""
        for box in self.inside:
            yield box
            yield from box.all()

    @cached_property
    def sources(self) -> list[set[int]]:
        """Which of the boxes inside each of them uses; -1 is what comes from outside."""
        uses: list[set[int]] = []
        for index, box in enumerate(self.inside):
            before = [other.row.span for other in self.inside[:index]]
            made = [[place for place, (start, end) in enumerate(before) if start <= s <= end] for s in box.row.inputs]
            outside = {-1} if any(step < self.row.span[0] for step in box.row.inputs) else set()
            uses.append({places[0] for places in made if places} | outside)
        return uses

    @cached_property
    def lanes(self) -> list[list[tuple[int, int]]]:
        """The arcs in as few lanes as keep those apart that pass one another, the shortest inside."""
        arcs = [(source, index) for index, uses in enumerate(self.sources) for source in sorted(uses - {index - 1})]
        lanes: list[list[tuple[int, int]]] = []
        for arc in sorted(arcs, key=lambda pair: pair[1] - pair[0]):
            free = next((lane for lane in lanes if all(arc[1] <= s or e <= arc[0] for s, e in lane)), None)
            if free is None:
                lanes.append(free := [])
            free.append(arc)
        return lanes


def flow_svg(trace: Steps, depth: int | None = None) -> str:
    """The trace as an SVG picture, to be put into a page or a file of its own.

    `depth` is how many levels of calls are opened; without it two, and only calls that call something themselves.
    """
    require_depth(depth)
    whole = Box(Row(trace.name, ""), _nested(trace.steps, depth or 2, forced=depth is not None))
    texts = [text for box in whole.all() for text in (f"{box.title}   {box.row.op}", together(box.row.shapes))]
    inner = min(max([NARROWEST, *(len(text) * CHARACTER + 36 for text in texts)]), WIDEST)
    width = _measure(whole, inner)
    bottom = _place(whole, LEFT, TOP, width)
    drawn = "".join(_drawn(whole))
    identity = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    arrows = "".join(_arrows(whole, f'marker-end="url(#head-{identity})"'))
    size = f"{LEFT + width + LANE * (len(whole.lanes) + 1) + LEFT:g}", f"{bottom + TOP - GAP:g}"
    words = escape("; ".join(_words(whole)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
        f'height="{size[1]}" role="img" aria-labelledby="title-{identity} words-{identity}">'
        f'<title id="title-{identity}">The flow of tensors through {escape(trace.name)}</title>'
        f'<desc id="words-{identity}">{words}</desc><style>{STYLE}</style>'
        f'<defs><marker id="head-{identity}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>{drawn}{arrows}</svg>'
    )


def _nested(rows: list[Row], depth: int, forced: bool) -> list[Box]:
    """The rows of one level as boxes, with those of the levels below inside them."""
    boxes = []
    for row, inner in nested(rows):
        # What is only arithmetic, a normalisation say, stays closed: its shapes tell nothing of the flow.
        telling = forced or any(other.depth > row.depth + 1 or other.op[:1].isupper() for other in inner)
        boxes.append(Box(row, _nested(inner, depth - 1, forced) if telling and depth > 1 else []))
    return boxes


def _measure(frame: Box, inner: float) -> float:
    """The width of a column: that of its widest frame, with room for the lanes of the arcs in it."""
    frames = [box for box in frame.inside if box.inside]
    return max([inner, *(_measure(box, inner) + 2 * INSET + LANE * len(box.lanes) for box in frames)])


def _place(frame: Box, x: float, y: float, width: float) -> float:
    for box in frame.inside:
        box.x, box.y, box.width = x, y, width
        if box.inside:
            bottom = _place(box, x + INSET, y + HEAD + GAP, width - 2 * INSET - LANE * len(box.lanes))
            box.height = bottom - y + 4
        y += box.height + GAP
    return y


def _fitting(text: str, width: float) -> str:
    room = int((width - 20) / CHARACTER)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _drawn(frame: Box) -> Iterator[str]:
    for box in frame.inside:
        place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"'
        op = box.row.op if box.row.op != "input" and box.row.op not in box.title else ""
        title = _fitting(box.title, box.width - len(op) * 7)
        yield f"<g><title>{escape(f'{box.row.expression}: {box.row.cell}')}</title>"
        yield f'<rect class="{"frame" if box.inside else "box"}" {place}/>'
        yield _text(box.x + 14, box.y + 19, title, "title" if box.inside else "")
        yield _text(box.x + box.width - 8, box.y + 19, op, "op")
        if not box.inside:
            kind = next((kind for kind, ops in KINDS.items() if box.row.op in ops.split()), "")
            yield f'<path class="stripe {kind}" d="M{box.x:g},{box.y + 4:g} h5 v{HEIGHT - 8} h-5 z"/>'
            yield _text(box.x + 14, box.y + 37, _fitting(together(box.row.shapes), box.width), "shape")
        yield "</g>"
        yield from _drawn(box)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'


def _arrows(frame: Box, head: str) -> Iterator[str]:
    """The arrows between the boxes of one column, the arcs in their lanes, and the ways out of frames."""
    boxes = frame.inside

    def bottom(source: int) -> float:
        return boxes[source].y + boxes[source].height if source >= 0 else frame.y + HEAD

    for index, box in enumerate(boxes):
        if index - 1 in frame.sources[index]:
            middle = box.x + box.width / 2
            yield f'<path class="arrow" d="M{middle:g},{bottom(index - 1):g} V{box.y:g}" {head}/>'
        if box.inside:
            yield from _arrows(box, head)
            last, end = box.inside[-1], box.y + box.height
            begin = f"{last.x + last.width / 2:g},{last.y + last.height:g}"
            yield f'<path class="arrow" d="M{begin} V{end - 8:g} H{box.x + box.width / 2:g} V{end:g}"/>'
    for number, lane in enumerate(frame.lanes, start=1):
        for source, index in lane:
            box = boxes[index]
            middle, right = box.x + box.width / 2, box.x + box.width
            start, end = bottom(source) + 4 + 4 * number, box.y + box.height / 2 + 4 * number - 8
            out = right + LANE * number
            # Where no arrow goes straight down, the arc alone leaves the source.
            leaves = start if source in frame.sources[source + 1] else bottom(source)
            yield (
                f'<path class="arrow past" d="M{middle:g},{leaves:g} V{start:g} H{out - 8:g} Q{out:g},{start:g} '
                f'{out:g},{start + 8:g} V{end - 8:g} Q{out:g},{end:g} {out - 8:g},{end:g} H{right:g}" {head}/>'
            )


def _words(frame: Box) -> Iterator[str]:
    for box in frame.inside:
        yield f"{box.row.label} gives {box.row.cell}"
        if box.inside:
            yield f"inside: {', then '.join(_words(box))}"
