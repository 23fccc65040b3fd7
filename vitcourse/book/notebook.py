"""A chapter of the book as a Jupyter notebook that runs on the learner's own chapters."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from vitcourse.book import markdown
from vitcourse.book.whole import answer_cell, whole_course
from vitcourse.codesets import load_code
from vitcourse.course import exercise
from vitcourse.errors import RequestError
from vitcourse.files import quoted, read_json, require_ending, write_atomically, writing
from vitcourse.places import root

_OPENING = """\
*Chapter {number} of the course as a notebook. It runs on what you write, in its cells or in `chapters/`, and sees \
your edits at once. Where something is not written yet, a cell ends in `NotImplementedError`: write it, run it, go on.*\
"""
COURSE = "vitcourse"  # the name of its package
_RELOAD = """\
import importlib.util

if importlib.util.find_spec("vitcourse") is None:  # on Colab
    %pip install --quiet {package}
%load_ext vitcourse
%load_ext autoreload
%autoreload 2"""


def write_notebook(word: str, output: Path | None = None, solved: bool = False) -> str:
    """Write the chapter's notebook, or that of all chapters, and tell where. What was edited is never overwritten.

    Raises RequestError when there is no such chapter, when the file has edits, or when it can't be written.
    """
    if solved and word != "all":
        raise RequestError("only the whole course comes solved; type: vitcourse notebook all --solved")
    page = None if word == "all" else find_page(root() / "book", word)
    name = page.stem if page else "solved" if solved else "all"
    file = output or Path("notebooks") / f"{name}.ipynb"
    if file.is_dir():
        file = file / f"{name}.ipynb"
    require_ending(file, ".ipynb", f"vitcourse notebook {word} --output")
    made = make_notebook(page) if page else make_whole(solved)
    if file.is_file():
        stands, written = _hashes(read_json(file))
        if stands == _hash(made["cells"]):
            return f"{file} is there already, as it would be written"
        if stands != written:
            fresh = quoted(Path(f"{file.stem}-fresh.ipynb"))
            raise RequestError(
                f"{file} is there already and has your edits, which are kept; "
                f"to have a fresh one beside it, type: vitcourse notebook {word} --output {fresh}"
            )
    if output is None:
        file.parent.mkdir(exist_ok=True)
    with writing(file):
        write_atomically(file, nbformat.writes(made))
    in_clone = Path.cwd().is_relative_to(root())
    return f"{file}\nopen it with: {'uv run --with jupyterlab ' if in_clone else ''}jupyter lab {quoted(file)}"


def chapter_pages(folder: Path) -> list[Path]:
    """The chapters' pages, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.md"))


def find_page(folder: Path, word: str) -> Path:
    """The page that "3", "ch03", "03_attention" or "ch03_attention" means. Raises RequestError when there is none."""
    pages = chapter_pages(folder)
    for page in pages:
        number = page.stem[:2]
        if word.removeprefix("ch") in (str(int(number)), number, page.stem):
            return page
    known = ", ".join(str(int(page.stem[:2])) for page in pages)
    raise RequestError(f"there is no chapter {word!r} in the book; type one of {known}, or all")


def make_notebook(page: Path, package: str = COURSE) -> NotebookNode:
    """The notebook of a page, as nbformat 4 has it; package is what it installs where the course isn't there.

    Raises MarkdownError for what has no plain Markdown.
    """
    book = markdown.read_book(page.parent)
    cells = [
        new_markdown_cell(_OPENING.format(number=int(page.stem[:2]))),
        _code_cell(_RELOAD.format(package=package), ("hide-input",)),
    ]
    for cell in jupytext.reads(page.read_text(encoding="utf-8"), fmt="md:myst").cells:
        if cell.cell_type == "code":
            cells.append(_code_cell(for_the_learner(cell.source), cell.metadata.get("tags", ())))
        else:
            cells += _text_cells(cell.source, book)
    return _notebook(cells, page.stem[:2])


def make_whole(solved: bool) -> NotebookNode:
    """The notebook of all chapters and a trained model: to be written, or solved."""
    cells = [
        _code_cell(source, ()) if kind == "code" else new_markdown_cell(source) for kind, source in whole_course(solved)
    ]
    return _notebook(cells, "solved" if solved else "all")


def _notebook(cells: list[NotebookNode], name: str) -> NotebookNode:
    for number, cell in enumerate(cells):
        cell["id"] = f"{name}-{number:03d}"
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "vitcourse": {"chapter": name, "hash": _hash(cells)},
    }
    made: NotebookNode = new_notebook(metadata=metadata, cells=cells)
    return made


def for_the_learner(code: str) -> str:
    """A cell's code, with the learner's chapters in the place of the solutions."""
    code = re.sub(r"\bsolutions\b", "chapters", code)
    return re.sub(r"^from myst_nb import glue$", "from vitcourse.book.cells import glue, say", code, flags=re.MULTILINE)


def _text_cells(source: str, book: markdown.Book) -> list[NotebookNode]:
    """Cells of Markdown; a paragraph with a value that a cell computed is shown by a cell that is run."""
    cells: list[NotebookNode] = []
    for block in markdown.blocks(source):
        text = markdown.plain(block, book)
        if isinstance(block, markdown.Directive) and block.name == "exercise":
            answer = answer_cell(exercise(block.argument), load_code("chapters"))
            cells += [new_markdown_cell(text), _code_cell(answer, ())]
        elif "{glue" in text:
            quoted = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
            cells.append(_code_cell(f'say("""{quoted}""")', ("hide-input",)))
        elif text and cells and cells[-1].cell_type == "markdown":
            cells[-1].source += f"\n\n{text}"
        elif text:
            cells.append(new_markdown_cell(text))
    return cells


def _code_cell(source: str, tags: Sequence[str]) -> NotebookNode:
    """A cell whose code or output is folded where the book folds it."""
    jupyter = {}
    if {"hide-input", "hide-cell", "remove-input", "remove-cell"} & set(tags):
        jupyter["source_hidden"] = True
    if {"hide-output", "hide-cell"} & set(tags):
        jupyter["outputs_hidden"] = True
    metadata = {key: value for key, value in (("tags", list(tags)), ("jupyter", jupyter)) if value}
    made: NotebookNode = new_code_cell(source, metadata=metadata)
    return made


def _hashes(found: dict[str, Any]) -> tuple[str | None, Any]:
    """Of what stands there: of its cells, and as it was written. They differ in what is no notebook of ours."""
    stands = None
    try:
        stands = _hash(found["cells"])
        return stands, found["metadata"]["vitcourse"]["hash"]
    except (KeyError, TypeError):
        return stands, ""


def _hash(cells: Sequence[dict[str, Any]]) -> str:
    """What of the cells a learner writes: running them changes nothing here. Jupyter keeps a source as its lines."""
    words = [[cell["cell_type"], "".join(cell["source"])] for cell in cells]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
