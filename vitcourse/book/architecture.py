"""The directive `architecture`: the whole model in one drawing, whose parts link to the exercises that make them.

```{architecture} 3.4``` lights that exercise's part; a chapter's number, or a part's own name, lights all of it. The
drawing, book/explorables/architecture.html, is figure 1 of the paper with the course's symbols, and to its right one
block and its attention, opened. Here it is lit, linked, and given the seven.
"""

from collections.abc import Callable, Iterable
from functools import cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html import HTMLTranslator

from vitcourse.book import living_model, parts
from vitcourse.course import Exercise, exercises

Pixels = list[float]
Address = Callable[[str], str]  # of an exercise, by its id; empty where no page has it

_TOKENS = (124, 186, 248, 310)  # the middles of the four patches
_STEP = 26  # between two numbers of exercises


@cache
def _drawing() -> str:
    return (parts.folder() / "architecture.html").read_text(encoding="utf-8")


@cache
def made_by() -> dict[str, list[Exercise]]:
    """By part of the drawing, the exercises that make it."""
    drawn = [element for element in ElementTree.fromstring(_drawing()).iter("g") if "data-part" in element.attrib]
    names = {part.attrib["data-part"]: set(part.attrib["data-makes"].split()) for part in drawn}
    return {key: [asked for asked in exercises() if own & set(asked.names)] for key, own in names.items()}


def lit_by(words: Iterable[str]) -> set[str]:
    """The parts that exercises, chapters or names light. Raises ValueError for a word that is none of them."""
    lit = set()
    for word in words:
        found = {
            key
            for key, made in made_by().items()
            if word == key or any(word in (asked.id, asked.id.partition(".")[0]) for asked in made)
        }
        if not found:
            raise ValueError(f"{word} is no exercise, no chapter and no part; the parts are {', '.join(made_by())}")
        lit |= found
    return lit


def draw(seven: Pixels, lit: set[str], address: Address, only: set[str] | None = None) -> str:
    """The drawing as HTML; `only` these exercises' numbers are lit in the parts that are."""
    drawing = ElementTree.fromstring(_drawing())
    if lit:
        drawing.attrib["class"] += " some-lit"
    for panel in drawing:
        svg = panel.find("svg")
        assert svg is not None
        for place, element in enumerate(list(svg)):
            if "data-seven" in element.attrib:
                svg[place : place + 1] = _seven(seven)
            key = element.attrib.get("data-part")
            if key in lit:
                panel.attrib["class"] = "panel has-lit"
                element.attrib["class"] += " lit"
            if key is not None:
                numbers = {asked: key in lit and (only is None or asked.id in only) for asked in made_by()[key]}
                _link(svg, place, numbers, address)
    return ElementTree.tostring(drawing, "unicode")


def _link(svg: Element, place: int, numbers: dict[Exercise, bool], address: Address) -> None:
    """Let a part lead to its exercises: its box to the first of them, and each by its number, which may be lit."""
    part = svg[place]
    if target := next((address(asked.id) for asked in numbers), ""):
        # The numbers are the links by keyboard and for those who hear the page; the box is a larger place to click.
        svg[place] = Element("a", {"href": target, "tabindex": "-1", "aria-hidden": "true"})
        svg[place].append(part)
    middle, height = map(float, part.attrib["data-numbers"].split(","))
    for number, (asked, is_lit) in enumerate(numbers.items()):
        x = middle + _STEP * (number - (len(numbers) - 1) / 2)
        svg.append(_number(asked, part.attrib["data-part"], x, height, is_lit, address(asked.id)))


def _number(asked: Exercise, key: str, x: float, y: float, is_lit: bool, target: str) -> Element:
    """An exercise's number in its part; a link where a page has the exercise."""
    name = f"Exercise {asked.id}: {asked.title}"
    link = Element("a", {"href": target, "data-of": key, "aria-label": name}) if target else Element("g")
    if target:
        SubElement(link, "title").text = name
    SubElement(link, "rect", {"class": "target", **_box(x - 13, y - 14, _STEP, 20)})
    shown = {"x": f"{x:g}", "y": f"{y:g}", "class": "number lit" if is_lit else "number", "text-anchor": "middle"}
    SubElement(link, "text", shown).text = asked.id
    return link


def _seven(seven: Pixels) -> list[Element]:
    """The seven, and its four patches."""
    side, tile = 62 / 8, 44 / 4
    made = [Element("rect", {"class": "pixels", **_box(0, 264, 62, 62)})]
    made += [Element("rect", {"class": "pixels", **_box(x - 22, 263, 44, 44)}) for x in _TOKENS]
    for place, value in enumerate(seven):
        row, column = divmod(place, 8)
        left = _TOKENS[2 * (row // 4) + column // 4] - 22
        boxes = (side * column, 264 + side * row, side), (left + tile * (column % 4), 263 + tile * (row % 4), tile)
        ink = {"class": "ink", "fill-opacity": f"{value:.2f}"}
        made += [Element("rect", {**ink, **_box(x, y, width, width)}) for x, y, width in boxes if value]
    return [*made, Element("path", {"class": "cut", "d": "M31,264 v62 M0,295 h62"})]


def _box(x: float, y: float, width: float, height: float) -> dict[str, str]:
    return {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}


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
    told = living_model.told(translator.builder.app)
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
    app.add_node(architecture, html=(visit, lambda translator, node: None))
    app.add_directive("architecture", Architecture)
