"""The directive `architecture`: the whole model in one drawing, whose parts link to the exercises that make them.

```{architecture} 3.4``` lights that exercise's part; a chapter's number, or a part's own name, lights all of it. The
drawing is figure 1 of the paper with the course's symbols, and to its right one block and its attention, opened.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html import HTMLTranslator

from vitcourse.book import living_model
from vitcourse.course import Exercise, exercises

HEIGHT = 336
TOKENS = (62, 124, 186, 248, 310)  # the middles of CLS and four tokens
Pixels = list[float]
Address = Callable[[str], str]  # of an exercise, by its id; empty where no page has it


@dataclass(frozen=True)
class Part:
    """A box: where it is, what it says, and the functions and classes of the course that it stands for."""

    key: str
    box: tuple[float, float, float, float]
    label: str
    names: tuple[str, ...]
    ids_at: tuple[float, float] | None = (
        None  # the middle of the exercises' numbers; the right end of the label if none
    )
    shape: str = ""
    kind: str = ""

    def exercises(self) -> list[Exercise]:
        """The exercises that make it."""
        return [asked for asked in exercises() if set(asked.names) & set(self.names)]


@dataclass(frozen=True)
class Panel:
    """One of the drawings that stand side by side: its size, its parts, and what no exercise makes."""

    title: str
    width: int
    parts: tuple[Part, ...]
    rest: str = ""
    under: str = field(default="", repr=False)


def _arrow(*points: tuple[float, float]) -> str:
    path = "M" + " L".join(f"{x},{y}" for x, y in points)
    (x0, y0), (x, y) = points[-2], points[-1]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = f"M{x - 5 * dx - 3.5 * dy},{y - 5 * dy - 3.5 * dx} L{x},{y} L{x - 5 * dx + 3.5 * dy},{y - 5 * dy + 3.5 * dx}"
    return f'<path class="way" d="{path} {head}"/>'


def _plus(x: float, y: float) -> str:
    return f'<circle class="plus" cx="{x}" cy="{y}" r="8"/><path class="way" d="M{x - 4},{y} h8 M{x},{y - 4} v8"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _tokens() -> str:
    made = []
    for position, x in enumerate(TOKENS):
        kind = "token cls" if position == 0 else "token"
        made.append(f'<rect class="{kind}" x="{x - 20}" y="158" width="40" height="24" rx="6"/>')
        made.append(_text(x, 174, f"{position}", "small") if position else _text(x, 174, "CLS", "small strong"))
        made.append(_arrow((x, 157), (x, 143)))
        if position:
            made += [_arrow((x, 216), (x, 206)), _arrow((x, 262), (x, 243))]
    return "".join(made)


MODEL = Panel(
    "The model",
    340,
    (
        Part("patches", (96, 257, 244, 78), "patches", ("patchify", "unpatchify"), (218, 329), "(B, N, C·P·P)", "open"),
        Part("embedding", (100, 216, 238, 26), "patch embedding", ("PatchEmbedding", "conv_to_linear"), (306, 233)),
        Part("positions", (96, 185, 244, 20), "+ positions", ("sinusoidal_positions", "sinusoidal_positions_2d",
             "PositionalEncoding", "resize_positions"), (280, 199), "", "open"),
        Part("cls", (36, 153, 52, 52), "", ("prepend_cls",), (62, 199), "", "open"),
        Part("encoder", (16, 96, 322, 46), "encoder: L blocks", ("EncoderBlock",), (316, 123)),
        Part("head", (16, 40, 112, 30), "norm, head", ("VisionTransformer",), (111, 59)),
        Part("training", (156, 8, 182, 62), "training", ("cross_entropy", "warmup_cosine", "train_step", "evaluate"),
             (247, 58)),
    ),
    _arrow((62, 95), (62, 71)) + _arrow((62, 39), (62, 24)) + _arrow((128, 55), (155, 55)) + _tokens()
    + _arrow((64, 294), (92, 294)) + _text(70, 16, "logits (B, K)", "small") + _text(200, 86, "(B, T, D)", "small")
    + _text(247, 40, "loss, schedule, step, accuracy", "small"),
)  # fmt: skip
BLOCK = Panel(
    "One block",
    172,
    (
        Part("norm1", (44, 266, 108, 26), "norm", ("LayerNorm",), (134, 283)),
        Part("attention", (44, 222, 108, 30), "attention", ("MultiHeadAttention",), (134, 241)),
        Part("norm2", (44, 156, 108, 26), "norm", ("LayerNorm",), (134, 173)),
        Part("mlp", (44, 108, 108, 34), "MLP", ("MLP", "gelu"), (124, 129)),
    ),
    _arrow((98, 322), (98, 293)) + _arrow((98, 265), (98, 253)) + _arrow((98, 221), (98, 211)) + _plus(98, 202)
    + _arrow((98, 194), (98, 183)) + _arrow((98, 155), (98, 143)) + _arrow((98, 107), (98, 97)) + _plus(98, 88)
    + _arrow((98, 80), (98, 40)) + _arrow((98, 302), (20, 302), (20, 202), (89, 202))
    + _arrow((98, 188), (20, 188), (20, 88), (89, 88)) + _text(98, 334, "(B, T, D)", "small")
    + _text(98, 34, "(B, T, D)", "small"),
    '<rect class="frame" x="2" y="56" width="168" height="252" rx="10"/>',
)  # fmt: skip
HEADS = Panel(
    "Its attention",
    172,
    (
        Part("qkv", (20, 266, 132, 26), "q, k, v", ("AttentionHead",), (134, 283)),
        Part("split", (20, 224, 132, 26), "split heads", ("split_heads",), (134, 241)),
        Part("dot", (8, 134, 144, 74), "", ("scaled_dot_product_attention",), (134, 196), "", "heads"),
        Part("merge", (20, 92, 132, 26), "merge heads", ("merge_heads",), (134, 109)),
        Part("out", (20, 56, 132, 26), "out", ("MultiHeadAttention",), (134, 73)),
    ),
    _arrow((86, 322), (86, 293)) + _arrow((86, 265), (86, 251)) + _arrow((86, 223), (86, 209))
    + _arrow((86, 133), (86, 119)) + _arrow((86, 91), (86, 83)) + _arrow((86, 55), (86, 40))
    + _text(80, 160, "softmax(q·kᵀ / √dh)·v", "small strong") + _text(60, 196, "(B, h, T, dh)", "small")
    + _text(86, 334, "(B, T, D)", "small") + _text(86, 34, "(B, T, D)", "small"),
    "".join(f'<rect class="frame" x="{x}" y="{x + 126}" width="144" height="74" rx="7"/>' for x in (20, 14)),
)  # fmt: skip
PANELS = (MODEL, BLOCK, HEADS)
PARTS = {part.key: part for panel in PANELS for part in panel.parts}


def lit_by(words: Iterable[str]) -> set[str]:
    """The parts that exercises, chapters or names light. Raises ValueError for a word that is none of them."""
    lit = set()
    for word in words:
        found = {
            key
            for key, part in PARTS.items()
            if word == key or any(word in (asked.id, asked.id.partition(".")[0]) for asked in part.exercises())
        }
        if not found:
            raise ValueError(f"{word} is no exercise, no chapter and no part; the parts are {', '.join(PARTS)}")
        lit |= found
    return lit


def draw(seven: Pixels, lit: set[str], address: Address, only: set[str] | None = None) -> str:
    """The drawing as HTML; `only` these exercises' numbers are lit in the parts that are."""
    panels = "".join(_panel(panel, seven, lit, address, only) for panel in PANELS)
    return f'<div class="architecture{" some-lit" if lit else ""}">{panels}</div>'


def _panel(panel: Panel, seven: Pixels, lit: set[str], address: Address, only: set[str] | None) -> str:
    has_lit = any(part.key in lit for part in panel.parts)
    boxes = "".join(_box(part, part.key in lit, address) for part in panel.parts)
    numbers = "".join(_numbers(part, lit, address, only) for part in panel.parts)
    image = _image(seven) if panel is MODEL else ""
    return (
        f'<div class="panel{" has-lit" if has_lit else ""}" style="flex-grow: {panel.width}">'
        f'<p class="step">{panel.title}</p>'
        f'<svg viewBox="0 0 {panel.width} {HEIGHT}" role="group" aria-label="{panel.title}">'
        f"{panel.under}{boxes}{panel.rest}{image}{numbers}</svg></div>"
    )


def _box(part: Part, is_lit: bool, address: Address) -> str:
    x, y, width, height = part.box
    kind = " ".join(word for word in ("part", part.kind, "lit" if is_lit else "") if word)
    body = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>'
    if part.label:
        middle = y + height / 2 + 4 if part.key != "training" else 26
        at = (x + 10, middle) if part.kind != "open" else (x + 4, part.ids_at[1] if part.ids_at else middle)
        body += _text(*at, part.label, anchor="start")
    if part.shape:
        body += _text(x + width - 4, part.ids_at[1] if part.ids_at else y, part.shape, "small", "end")
    made = part.exercises()
    target = address(made[0].id) if made else ""
    group = f'<g class="{kind}" data-part="{part.key}">{body}</g>'
    # The numbers are the links by keyboard and for those who hear the page; the box is a larger place to click.
    return f'<a href="{escape(target)}" tabindex="-1" aria-hidden="true">{group}</a>' if target else group


def _numbers(part: Part, lit: set[str], address: Address, only: set[str] | None) -> str:
    made = part.exercises()
    x, y = part.ids_at or (0, 0)
    step = 26
    drawn = []
    for place, asked in enumerate(made):
        middle = x + step * (place - (len(made) - 1) / 2)
        kind = "number lit" if part.key in lit and (only is None or asked.id in only) else "number"
        text = f'<rect class="target" x="{middle - 13}" y="{y - 14}" width="26" height="20"/>'
        text += _text(middle, y, asked.id, kind)
        target, name = address(asked.id), escape(f"Exercise {asked.id}: {asked.title}")
        if target:
            link = f'<a href="{escape(target)}" data-of="{part.key}" aria-label="{name}"><title>{name}</title>'
            text = f"{link}{text}</a>"
        drawn.append(text)
    return "".join(drawn)


def _image(seven: Pixels) -> str:
    """The seven, and its four patches."""
    side, tile = 62 / 8, 44 / 4
    made = ['<rect class="pixels" x="0" y="264" width="62" height="62"/>']
    made += [f'<rect class="pixels" x="{x - 22}" y="263" width="44" height="44"/>' for x in TOKENS[1:]]
    for i, value in enumerate(seven):
        row, column = divmod(i, 8)
        if value == 0:
            continue
        n = 2 * (row // 4) + column // 4
        ink = f'class="ink" fill-opacity="{value:.2f}"'
        made.append(_square(ink, side * column, 264 + side * row, side))
        x, y = TOKENS[n + 1] - 22 + tile * (column % 4), 263 + tile * (row % 4)
        made.append(_square(ink, x, y, tile))
    made.append('<path class="cut" d="M31,264 v62 M0,295 h62"/>')
    return "".join(made)


def _square(kind: str, x: float, y: float, side: float) -> str:
    return f'<rect {kind} x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"/>'


class architecture(nodes.General, nodes.Element):
    """The place of the drawing: which parts are `lit`."""


class Architecture(SphinxDirective):
    """The drawing, with what the argument names lit."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split() if self.arguments else []
        try:
            lit = lit_by(words)
        except ValueError as error:
            raise self.error(str(error)) from error
        ids = {asked.id for asked in exercises() if asked.id in words or asked.id.partition(".")[0] in words}
        return [architecture(lit=sorted(lit), only=sorted(ids) or None)]


def visit(translator: HTMLTranslator, node: nodes.Element) -> None:
    """Draw it."""
    told = living_model.of(translator.builder.app).told()
    only = set(node["only"]) if node["only"] else None
    drawing = draw(told["page"]["seven"], set(node["lit"]), addresses(translator), only)
    label = "The Vision Transformer and its parts, each with the exercises that make it"
    translator.body.append(f'<nav class="vit in-book map" aria-label="{label}">{drawing}</nav>\n')


def addresses(translator: HTMLTranslator) -> Address:
    """Where each exercise stands, seen from the page that is written."""
    builder = translator.builder
    domain = builder.env.get_domain("std")
    assert isinstance(domain, StandardDomain)
    labels = domain.labels

    def address(name: str) -> str:
        page, place, _ = labels.get(f"exercise-{name}", ("", "", ""))
        if not page:
            return ""
        here = builder.current_docname
        return f"{'' if page == here else builder.get_relative_uri(here, page)}#{place}"

    return address


def setup_architecture(app: Sphinx) -> None:
    """Tell Sphinx of it."""
    app.add_node(architecture, html=(visit, lambda translator, node: None))
    app.add_directive("architecture", Architecture)
