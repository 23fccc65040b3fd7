"""The directive `living`: an explorable of book/explorables in a page, and a static picture of it in its place.

The picture is what one sees on paper, without scripts, and until the script has come.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html import HTMLTranslator

from vitcourse.book import living_model, parts, stills
from vitcourse.book.architecture import Address, addresses

FILES = ("living-model.js", "living.js")
STYLE = "living.css"


class living(nodes.General, nodes.Element):
    """The place of an explorable: its `kind`, its `label`, and a caption in it."""


class Living(SphinxDirective):
    """```{living} patches``` with a caption as its body."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0].strip()
        if kind not in stills.KINDS:
            raise self.error(f"there is no explorable {kind}; there are {', '.join(stills.KINDS)}")
        return [living("", *self.parse_content_to_nodes(), kind=kind)]


def visit(translator: HTMLTranslator, node: nodes.Element) -> None:
    """The picture; the caption follows."""
    told = living_model.told(translator.builder.app)
    translator.body.append(opened(node["kind"], told, addresses(translator)))
    if node.children:
        translator.body.append('<div class="living-caption told">')


def opened(kind: str, told: dict[str, Any], address: Address) -> str:
    """The place of an explorable, as far as its picture."""
    picture = stills.KINDS[kind](told, address)
    return f'<div class="vit in-book living {kind}" data-living="{kind}">\n<figure class="still">{picture}</figure>\n'


def depart(translator: HTMLTranslator, node: nodes.Element) -> None:
    translator.body.append("</div></div>\n" if node.children else "</div>\n")


def setup_living(app: Sphinx) -> None:
    app.add_node(living, html=(visit, depart))
    app.add_directive("living", Living)
    app.connect("builder-inited", _begin)
    app.connect("html-page-context", _load)
    app.connect("build-finished", _write)


def _begin(app: Sphinx) -> None:
    if app.builder.name != "html":
        return
    app.add_css_file(STYLE)
    app.add_js_file("progress.js")
    app.add_js_file("traces.js")


def _load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the scripts where there is something for them to do."""
    if doctree is not None and any(doctree.findall(living)):
        for name in FILES:
            app.add_js_file(name, loading_method="defer")


def _write(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.name == "html" and living_model.place(app).is_file():
        static = Path(app.outdir) / "_static"
        for name, text in files(living_model.told(app)).items():
            (static / name).write_text(text, encoding="utf-8")


def files(told: dict[str, Any]) -> dict[str, str]:
    """What the pages load: the model, the parts, how they look. Scripts, since from a file nothing can be fetched."""
    model, script = FILES
    return {
        model: f"window.vitcourse = {parts.as_script(told['page'])};\n",
        # In a scope of its own: what the parts declare stays theirs.
        script: f'(() => {{\n"use strict";\n{parts.script("living")}\nlive(window.vitcourse);\n}})();\n',
        STYLE: "\n".join((parts.folder() / name).read_text(encoding="utf-8") for name in ("explore.css", STYLE)),
    }
