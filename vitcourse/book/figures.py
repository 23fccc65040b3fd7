"""Figures as a part of their page: in its letters, on its paper, in the light and in the dark.

What a cell draws is an SVG file, which an <img> would show as it is. Here it becomes an <svg> of the page. Black
becomes the page's own ink, and the colours of the course those of living.css, which are lighter in the dark.
"""

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html import HTMLTranslator
from sphinx.writers.html5 import HTML5Translator

from vitcourse.book.style import COLOURS, INK, LETTERS

# Letters that are black stay black, on the plate that they stand on; "dimgrey" is what letters beside the point are.
WORDS = ("blue", "vermilion", "green", "orange", "purple", "sky")
NAMES = {colour: word for kind in (COLOURS, LETTERS.values()) for colour, word in zip(kind, WORDS, strict=False)}
NAMES["#696969"] = "grey"
DRAWN_BY_CELLS = "jupyter_execute"

_ROOT = re.compile(r"<svg\b[^>]*>")
_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_ID = re.compile(r'\sid="([^"]+)"')
_POINTS = re.compile(r'(url\(#|href="#)([^)"]+)')


def visit_image(translator: HTMLTranslator, node: nodes.Element) -> None:
    """An <svg> for what a cell drew as one, an <img> for the rest."""
    uri = node["uri"]
    file = Path(translator.builder.srcdir) / uri
    if DRAWN_BY_CELLS not in uri or file.suffix != ".svg" or not file.is_file():
        HTML5Translator.visit_image(translator, node)
        return
    translator.body.append(of_the_page(file.read_text(encoding="utf-8"), node.get("alt", ""), file.stem[:8]))


def of_the_page(text: str, alt: str, name: str) -> str:
    """An SVG file's text as an element of a page; `name` tells its places from those of other figures."""
    start = _ROOT.search(text)
    if start is None:
        return ""
    view = re.search(r'viewBox="([^"]+)"', start[0])
    body = text[start.end() :]
    body = re.sub(r"<metadata>.*?</metadata>|<title\b.*?</title>|<desc\b.*?</desc>", "", body, flags=re.DOTALL)
    body = _STYLE.sub(lambda style: f"<style>{_scoped(style[1], name)}</style>", body)
    used = {match[2] for match in _POINTS.finditer(body)}
    body = _ID.sub(lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", body)
    body = _POINTS.sub(lambda match: f"{match[1]}{name}-{match[2]}", body)
    body = body.replace(INK, "currentColor").replace("#000000", "currentColor")
    for colour, word in NAMES.items():
        body = re.sub(colour, f"var(--figure-{word}, {colour.lower()})", body, flags=re.IGNORECASE)
    size = f'viewBox="{view[1]}" style="--width: {view[1].split()[2]}"' if view else ""
    return f'<svg class="figure f-{name}" role="img" aria-label="{escape(alt)}" {size}>{body}\n'


def _scoped(style: str, name: str) -> str:
    """A figure's own rules, for it alone; what it says of light and dark is the page's to say."""
    style = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)
    rules = [(rule[1].strip(), rule[2]) for rule in _RULE.finditer(style)]
    kept = [(selector, body) for selector, body in rules if not selector.startswith(("svg:root", "*"))]
    return "".join(f".f-{name} {selector} {{{body}}}" for selector, body in kept)


def setup_figures(app: Sphinx) -> None:
    # Sphinx closes an image by itself.
    app.add_node(nodes.image, override=True, html=(visit_image, None))
