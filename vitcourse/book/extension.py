"""The Sphinx extension of the book, whoever calls Sphinx: `vitcourse book` or `jupyter-book build .`."""

import shutil
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.domains.index import IndexDomain
from sphinx.domains.math import MathDomain
from sphinx.util.index_entries import split_index_msg

from vitcourse.book import fingerprint
from vitcourse.book.architecture import setup_architecture
from vitcourse.book.directives import element, setup_directives
from vitcourse.book.execution import run_ahead
from vitcourse.book.figures import setup_figures
from vitcourse.book.link_previews import setup_link_previews
from vitcourse.book.living import setup_living
from vitcourse.book.markdown import chapter_number
from vitcourse.book.notebook import COURSE, chapter_pages, make_notebook

MATHJAX = "tex-svg.js"
NOTEBOOKS = "notebooks"
COLAB = "https://colab.research.google.com/github/{repository}/blob/gh-pages/notebooks/{page}.ipynb"


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    setup_directives(app)
    setup_figures(app)
    setup_living(app)
    setup_link_previews(app)
    setup_architecture(app)
    app.connect("config-inited", _follow_the_code)
    app.connect("builder-inited", _copy_mathjax)
    app.connect("builder-inited", _begin)
    if "myst_nb" in app.extensions:
        app.connect("env-before-read-docs", run_ahead)
    # OWNER/NAME on GitHub. With it, chapters link to Colab, which opens what is published on the branch gh-pages.
    app.add_config_value("vitcourse_repository", "", "env", [str])
    app.connect("doctree-read", _number_equations_by_chapter)
    app.connect("doctree-read", _offer_notebook)
    app.connect("html-collect-pages", _tell_the_search_all_terms)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _follow_the_code(app: Sphinx, config: Config) -> None:
    """Keep the cells' outputs in a folder named after the code that made them, and the pages.

    Jupyter Book's cache knows the cells and not what they import. Sphinx in turn reads every page again when the
    folder's name has changed, as it does for any setting of that kind.
    """
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / fingerprint.code(Path(app.srcdir))
    if caches.is_dir():
        for other in caches.iterdir():
            if other != current:
                shutil.rmtree(other, ignore_errors=True)
    current.mkdir(parents=True, exist_ok=True)
    config["nb_execution_cache_path"] = str(current)


def _copy_mathjax(app: Sphinx) -> None:
    """Bring MathJax from its package: the one file that holds the reader of TeX, the writer of SVG and the glyphs."""
    name = "sphinx-mathjax-offline"
    folder = Path(app.outdir) / "_static" / "mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(metadata.distribution(name).locate_file(f"{name}/static/mathjax/{MATHJAX}")), folder)


def _number_equations_by_chapter(app: Sphinx, doctree: nodes.document) -> None:
    """Equation 2 of chapter 3 is (3.2): a number that can't be taken for one of a paper's."""
    chapter = chapter_number(PurePosixPath(app.env.docname).name)
    if not chapter:
        return
    domain = app.env.get_domain("math")
    assert isinstance(domain, MathDomain)
    for node in doctree.findall(nodes.math_block):
        if node.get("number"):
            node["number"] = f"{chapter}.{node['number']}"
            domain.equations[node["label"]] = app.env.docname, node["number"]


def _offer_notebook(app: Sphinx, doctree: nodes.document) -> None:
    """Under a chapter's title: its notebook, and where it can be opened."""
    page = PurePosixPath(app.env.docname)
    title = next(doctree.findall(nodes.title), None)
    if not chapter_number(page.name) or title is None or app.builder.name != "html":
        return
    up = "../" * (len(page.parts) - 1)
    ways = [("Download as a notebook", f"{up}{NOTEBOOKS}/{page.name}.ipynb")]
    if app.config.vitcourse_repository:
        ways.append(("Open in Colab", COLAB.format(repository=app.config.vitcourse_repository, page=page.name)))
    line = element("p", class_="page-ways", line=True)  # no paragraph, of which a page's description is made
    for text, address in ways:
        line += nodes.reference("", text, refuri=address, internal=False)
    title.parent.insert(title.parent.index(title) + 1, line)


def _tell_the_search_all_terms(app: Sphinx) -> list[Any]:
    """Let the search know the terms of every page, of those too that aren't written this time.

    Sphinx forgets these: it saves what it knows before the pages are written, which is when they tell their terms.
    """
    indexer, domain = getattr(app.builder, "indexer", None), app.env.get_domain("index")
    assert isinstance(domain, IndexDomain)
    if indexer is not None:
        indexer._index_entries = {
            page: sorted(
                {
                    (term, place or "", main)
                    for kind, value, place, main, _ in domain.entries.get(page, ())
                    for term in split_index_msg(kind, value)
                }
            )
            for page in indexer._titles
        }
    return []  # no pages more


def _write_notebooks(app: Sphinx) -> None:
    """The chapters as notebooks, beside the pages; in Colab they install the course from its repository."""
    folder, repository = Path(app.outdir) / NOTEBOOKS, app.config.vitcourse_repository
    folder.mkdir(exist_ok=True)
    for page in chapter_pages(Path(app.srcdir) / "book"):
        notebook = make_notebook(page, f"git+https://github.com/{repository}" if repository else COURSE)
        (folder / f"{page.stem}.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")


def _begin(app: Sphinx) -> None:
    if app.builder.name != "html":
        return
    # Until the build has ended well, nothing says that there is a site; the hash is that of the sources as they are
    # read now, not of what is edited meanwhile.
    fingerprint.record(Path(app.outdir)).unlink(missing_ok=True)
    app.vitcourse_built_from = fingerprint.everything(Path(app.srcdir))  # type: ignore[attr-defined]


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        _write_notebooks(app)
        if not app._warncount:
            made = fingerprint.record(Path(app.outdir))
            made.write_text(app.vitcourse_built_from, encoding="utf-8")  # type: ignore[attr-defined]
