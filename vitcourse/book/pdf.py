"""The whole book as one PDF: its pages put into one, which a headless Chromium prints."""

from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup
from sphinx_external_toc.parsing import parse_toc_yaml

from vitcourse.book.browser import launch
from vitcourse.book.site import Site
from vitcourse.files import write_file

FOOTER = (
    '<div style="font-size:8px; width:100%; text-align:center; color:#555">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
# What is there to click, and the code of pictures, which the site folds too.
NOT_PRINTED = ".headerlink, .copybtn, .prev-next-footer, details.hide.above-input, .tocwrapper, script"
# Open what is folded on the screen, and wait for formulas, fonts and pictures.
PREPARE = """async () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  if (window.MathJax && window.MathJax.startup) { await window.MathJax.startup.promise; }
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => undefined)));
}"""


def write_pdf(site: Site, file: Path) -> None:
    """Print the built book to that file. Raises RequestError when it can't be written, RunError without a browser."""
    with launch() as browser:
        page = browser.new_page(color_scheme="light")
        page.goto(one_page(site).as_uri())
        page.emulate_media(media="print", color_scheme="light")
        page.evaluate(PREPARE)
        content = page.pdf(
            format="A4",
            outline=True,
            tagged=True,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
        )
    write_file(file, content)


def one_page(site: Site) -> Path:
    """All pages as one, in the order of the contents; each place keeps its name, after that of its page."""
    names = [f"{name}.html" for name in parse_toc_yaml(site.root / "_toc.yml")]
    whole: Any = BeautifulSoup((site.output / names[0]).read_text(encoding="utf-8"), "html.parser")
    _rebase(whole.head, names[0], [])
    whole.title.string = whole.title.string.partition(" \u2014 ")[0]  # without the site's name, which says the same
    whole.head.append(whole.new_tag("style", string=(site.root / "book" / "print.css").read_text(encoding="utf-8")))
    whole.body.clear()
    article = whole.new_tag("article", attrs={"class": "bd-article bd-content"})
    whole.body.append(article)
    for name in names:
        page: Any = BeautifulSoup((site.output / name).read_text(encoding="utf-8"), "html.parser")
        found = page.select_one("article")
        for element in found.select(NOT_PRINTED):
            element.decompose()
        _rebase(found, name, names)
        found.name = "div"
        found["class"] = "page"
        found["id"] = _place(name, "")
        article.append(found)
    file = site.build / "pdf" / "book.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(str(whole), encoding="utf-8")
    return file


def _place(page: str, fragment: str) -> str:
    return f"{page.removesuffix('.html')}--{fragment}".rstrip("-")


def _rebase(part: Any, page: str, pages: list[str]) -> None:
    """Let what a page refers to be found from the one page, and its own places under their new names."""
    if pages:
        # A drawing's places are its own already, and more refers to them than an address.
        for element in part.select("[id]:not(svg [id])"):
            element["id"] = _place(page, element["id"])
        for element in part.select("[for], [aria-labelledby], [aria-describedby], input[name]"):
            for key in {"for", "aria-labelledby", "aria-describedby", "name"} & set(element.attrs):
                element[key] = _place(page, element[key])
    for element in part.select("[href]:not(use, image), [src]"):
        for key in {"href", "src"} & set(element.attrs):
            address = element[key]
            if address.startswith(("http:", "https:", "mailto:", "data:")):
                continue
            target, fragment = urldefrag(urljoin(page, address))
            if target in pages or address.startswith("#"):
                element[key] = f"#{_place(target or page, fragment)}"
            else:
                element[key] = f"../html/{target}"
