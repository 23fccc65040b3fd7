"""What other places show of a page when it is linked to: its description, and a card with the model at work."""

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CARD = "card.png"  # of book/assets, made by benchmarks/readme.py
WORDS = 220  # characters; what is longer is cut by those who show it
ALT = "A handwritten seven flows through a small Vision Transformer, from its patches to the answer"


def setup_link_previews(app: Sphinx) -> None:
    app.connect("html-page-context", _add)


def _add(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is None:
        return
    # Those who fetch a card want a whole address, which is known only where the book's own is.
    base = app.config.html_baseurl.rstrip("/")
    card = f"{base}/_static/{CARD}" if base else context["pathto"](f"_static/{CARD}", 1)
    title = re.sub(r"<[^>]+>", "", context.get("title", ""))
    said = description(doctree)
    values = {
        "description": said,
        "og:title": title,
        "og:description": said,
        "og:type": "article",
        "og:site_name": "vitcourse",
        "og:image": card,
        "og:image:alt": ALT,
        "twitter:card": "summary_large_image",
        **({"og:url": f"{base}/{page}.html"} if base else {}),
    }
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" content="{escape(text)}" />\n'
        for name, text in values.items()
        if text
    )


def description(doctree: nodes.document) -> str:
    """The page's first sentence, with the list that it ends in, if it does."""
    words = ""
    for node in doctree.findall(nodes.paragraph):
        own = nodes.section | nodes.document  # and no card, explorable or output
        if isinstance(node.parent, own | nodes.list_item if words else own):
            words = f"{words} {' '.join(node.astext().split())}".strip()
            if words.endswith((".", "!", "?")) or len(words) > WORDS:
                break
    return words if len(words) <= WORDS else f"{words[: words.rfind(' ', 0, WORDS)]} …"
