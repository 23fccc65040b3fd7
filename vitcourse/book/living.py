"""The directive `living`: an explorable of book/explorables in a page, and a static picture of it in its place.

The picture is what one sees on paper, without scripts, and until the script has come.
"""

import shutil
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html import HTMLTranslator

from vitcourse.book import living_model, parts, stills
from vitcourse.book.architecture import addresses

FILES = ("living-model.js", "living.js")
STYLES = ("explore.css", "living.css")


class living(nodes.General, nodes.Element):
    """The place of an explorable: its `kind`, its `label`, and a caption in it."""


class Living(SphinxDirective):
    """```{living} patches``` with a caption as its body."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0].strip()
        if kind not in stills.KINDS:
            raise self.error(f"there is no explorable {kind}; there are {', '.join(stills.KINDS)}")
        node = living(kind=kind)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def visit(translator: HTMLTranslator, node: nodes.Element) -> None:
    """The picture; the caption follows."""
    kind = node["kind"]
    told = living_model.of(translator.builder.app).told()
    translator.body.append(
        f'<div class="vit in-book living {kind}" data-living="{kind}">\n'
        f'<figure class="still">{stills.KINDS[kind](told, addresses(translator))}</figure>\n'
    )
    if node.children:
        translator.body.append('<div class="living-caption told">')


def depart(translator: HTMLTranslator, node: nodes.Element) -> None:
    """Close it."""
    translator.body.append("</div></div>\n" if node.children else "</div>\n")


def setup_living(app: Sphinx) -> None:
    """Tell Sphinx of it."""
    app.add_node(living, html=(visit, depart))
    app.add_directive("living", Living)
    app.connect("builder-inited", _begin)
    app.connect("html-page-context", _load)
    app.connect("build-finished", _write)


def _begin(app: Sphinx) -> None:
    if app.builder.name != "html":
        return
    folder = Path(app.config["nb_execution_cache_path"] or app.outdir)
    folder.mkdir(parents=True, exist_ok=True)
    living_model.begin(app, folder / "living.json")
    app.add_css_file("living.css")


def _load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the scripts where there is something for them to do."""
    if doctree is not None and any(doctree.findall(living)):
        for name in FILES:
            app.add_js_file(name, loading_method="defer")


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.name != "html":
        return
    static = Path(app.outdir) / "_static"
    told = living_model.of(app).told()["page"]
    # A function's own scope: what the parts declare stays theirs.
    script = f"{parts.script('living')}\nlive(window.vitcourse);"
    _write_text(static / "living-model.js", f"window.vitcourse = {parts.as_script(told)};\n")
    _write_text(static / "living.js", f'(() => {{\n"use strict";\n{script}\n}})();\n')
    with (static / "living.css").open("wb") as file:
        for name in STYLES:
            with (parts.folder() / name).open("rb") as part:
                shutil.copyfileobj(part, file)


def _write_text(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
