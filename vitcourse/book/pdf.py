"""The whole book as one PDF, printed by a headless Chromium from all pages as one."""

from pathlib import Path

from vitcourse.book.browser import launch
from vitcourse.book.site import Site, Tell, build
from vitcourse.errors import RequestError

FOOTER = (
    '<div style="font-size:8px; width:100%; text-align:center; color:#555">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
# Open what is folded on the screen, and wait for the formulas.
PREPARE = """async () => {
  document.querySelectorAll("article details").forEach((details) => { details.open = true; });
  if (window.MathJax && window.MathJax.startup) { await window.MathJax.startup.promise; }
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => undefined)));
}"""


def write_pdf(site: Site, file: Path, tell: Tell) -> None:
    """Print the book to that file. Raises RequestError when it can't be written, RunError when it can't be printed."""
    if not file.parent.is_dir():
        raise RequestError(f"can't write {file}: there is no folder {file.parent}")
    # The browser before the work: its absence is said at once.
    with launch() as browser:
        build(site, tell, builder="singlehtml")
        page = browser.new_page(color_scheme="light")
        page.goto((site.single / "book" / "index.html").as_uri())
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
    try:
        file.write_bytes(content)
    except OSError as error:
        raise RequestError(f"can't write {file}: {error.strerror}; name a file in another folder") from error
