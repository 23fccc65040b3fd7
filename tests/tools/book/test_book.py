"""The book's sources and its machinery, without building it: test_book_browser.py looks at the built pages."""

import ast
import io
import json
import re
import shutil
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import pytest
import yaml
from commands import Ended

from vitcourse.book import command, fingerprint, markdown, quiz, site
from vitcourse.book.command import show_book
from vitcourse.book.notebook import chapter_pages, find_page, make_notebook, write_notebook
from vitcourse.course import chapters, exercises, minutes
from vitcourse.errors import RequestError, RunError
from vitcourse.places import root

BOOK = root() / "book"
PAGES = sorted(BOOK.rglob("*.md"))
CHAPTERS = chapter_pages(BOOK)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def cells(text: str) -> list[Any]:
    return list(jupytext.reads(text, fmt="md:myst").cells)


def code_cells(text: str) -> list[Any]:
    return [cell for cell in cells(text) if cell.cell_type == "code"]


@cache
def blocks(text: str) -> list[str | markdown.Directive]:
    """All blocks of the prose, those inside directives too."""

    def inside(source: str) -> Iterator[str | markdown.Directive]:
        for block in markdown.blocks(source):
            yield block
            if isinstance(block, markdown.Directive) and block.name not in ("quiz", "math", "code-block", "code"):
                yield from inside(block.body)

    return [block for cell in cells(text) if cell.cell_type == "markdown" for block in inside(cell.source)]


def directives(text: str, name: str) -> list[markdown.Directive]:
    return [block for block in blocks(text) if isinstance(block, markdown.Directive) and block.name == name]


per_chapter = pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
per_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(BOOK).with_suffix("").as_posix())


# What every page must have


@pytest.mark.course
def test_the_contents_list_every_page_once() -> None:
    contents = yaml.safe_load(text_of(root() / "_toc.yml"))

    def listed(entry: dict[str, Any]) -> Iterator[str]:
        yield from (entry[key] for key in ("root", "file") if key in entry)
        for key in ("parts", "chapters", "sections"):
            for inner in entry.get(key, ()):
                yield from listed(inner)

    pages = [page.relative_to(root()).with_suffix("").as_posix() for page in PAGES]
    assert sorted(listed(contents)) == sorted(pages)


@pytest.mark.course
def test_there_is_a_page_for_the_start_and_for_each_chapter() -> None:
    wanted = {"00_start", *(chapter.module.removeprefix("ch") for chapter in chapters())}
    assert wanted <= {page.stem for page in CHAPTERS}


@pytest.mark.course
@pytest.mark.parametrize("name", ["exercise", "solution"])
def test_each_exercise_stands_once_in_its_chapter_in_the_order_of_the_course(name: str) -> None:
    own_pages = {}
    for chapter in chapters():
        own = BOOK / f"{chapter.module.removeprefix('ch')}.md"
        page = own if name == "exercise" else BOOK / "solutions" / f"{chapter.words[1]}.md"
        own_pages[page] = [asked.id for asked in chapter.exercises]
    for page in PAGES:
        found, wanted = [block.argument for block in directives(text_of(page), name)], own_pages.get(page, [])
        assert found == wanted, f"in {page.name} the order is {found}, and in vitcourse/course.toml {wanted}"


@per_chapter
def test_a_chapter_asks_at_least_three_questions_and_explains_every_answer(page: Path) -> None:
    questions = [question for block in directives(text_of(page), "quiz") for question in quiz.parse(block.body)]
    assert len(questions) >= 3
    for question in questions:
        assert sum(answer.right for answer in question.answers) == 1
        assert len({answer.text for answer in question.answers}) == len(question.answers)
        assert all(len(answer.why.split()) >= 3 for answer in question.answers), question


@per_chapter
def test_a_chapter_has_three_moments_to_predict_each_with_a_folded_answer_next(page: Path) -> None:
    moments = 0
    found = cells(text_of(page))
    for cell, following in zip(found, [*found[1:], None], strict=True):
        asked = cell.cell_type == "markdown" and [
            block for block in markdown.blocks(cell.source) if isinstance(block, markdown.Directive)
        ]
        if asked and asked[-1].name == "predict":
            moments += 1
            assert following is not None
            assert following.cell_type == "code", asked[-1].argument
            assert "hide-output" in following.metadata.get("tags", ()), asked[-1].argument
    assert moments >= 3
    assert moments == len(directives(text_of(page), "predict")), "nothing stands between a question and its cell"


DRAWS = re.compile(r"\bplt\.(show|subplots|figure|plot|imshow)\b|\bFigure\(|\bdraw_\w+\(|\bshow_(image|matrix)\(")


@per_page
def test_each_picture_says_in_words_what_it_shows(page: Path) -> None:
    for cell in code_cells(text_of(page)):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        defines_only = all(
            isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom) for node in ast.parse(cell.source).body
        )
        if DRAWS.search(cell.source) and not defines_only and "remove-output" not in cell.metadata.get("tags", ()):
            assert len(alt.split()) >= 5, f"the cell that begins {cell.source[:60]!r} draws, and has no alt text"
    for block in blocks(text_of(page)):
        if isinstance(block, markdown.Directive) and block.name in ("figure", "image"):
            assert len(block.options.get("alt", "").split()) >= 5, block.argument
        if isinstance(block, str):
            assert not re.search(r"!\[\s*\]\(", block)


# A figure in the prose comes from a cell or a file, so that it can't go stale. What is left are sizes that the text
# itself sets, and numbers of chapters, equations, pages and years.
STRAY = {
    "a share": re.compile(r"\d(?:\.\d+)?\s?%"),
    "a time": re.compile(r"\b\d+(?:\.\d+)?[\s-]?(?:ms|s|sec|seconds?|hours?|CPU seconds?)\b"),
    "a factor": re.compile(r"\b\d+(?:\.\d+)?\s?×(?!\s?\d)|\b\d+(?:\.\d+)? times (?:as (?:fast|slow)|faster|slower)"),
    "a size": re.compile(r"\b\d+(?:\.\d+)?\s?(?:[kMGT]i?B|TFLOP\S*|GFLOP\S*|images/s)\b"),
    "a measured decimal": re.compile(r"(?<![\w./])\d+\.\d{2,}(?![\w.]*/)"),
}
# What the prose defines and doesn't measure: versions, papers, and the constants of a formula.
DEFINED = re.compile(
    r"[Pp]ython 3\.\d+|arXiv:\S+|\d{4}\.\d{5}|PyTorch \d[\d.]*"
    r"|\b(?:0\.02|0\.044715|1\.702)\b"  # the deviation of first positions; two approximations of GELU
)


@cache
def prose(text: str) -> str:
    """What a page says in words: no code, no formulas, no addresses."""
    parts = []
    for block in blocks(text):
        if isinstance(block, markdown.Directive):
            if block.name in ("math", "code", "code-block", "bibliography"):
                continue
            parts.append(block.argument if block.name in ("predict", "admonition", "note", "tip", "warning") else "")
            parts.append(block.body if block.name == "quiz" else "")
        elif not block.lstrip().startswith(("```", "~~~")):
            parts.append(block)
    text = "\n\n".join(parts)
    for noise in (r"```.*?```", r"(`+).+?\1", r"\$[^$]+\$", r"\]\([^)]*\)", r"<[^>]*>", DEFINED.pattern):
        text = re.sub(noise, " ", text, flags=re.DOTALL)
    return text


def stray_figures(text: str) -> list[str]:
    said = prose(text)
    return [f"{kind}: {match[0]}" for kind, pattern in STRAY.items() for match in pattern.finditer(said)]


@per_page
def test_no_figure_in_the_prose_was_typed(page: Path) -> None:
    assert stray_figures(text_of(page)) == []


def test_a_typed_figure_is_found() -> None:
    for figure in ("98.6% of them", "8 seconds", "a loss of 0.5321", "2.4× faster", "it takes 12 ms", "38 GiB"):
        assert stray_figures(f"# Title\n\nIt reaches {figure}.\n"), figure
        assert stray_figures(f"# Title\n\n:::{{predict}} Is it {figure}?\n:::\n"), figure
    for plain in ("16×16 words", "patches of 4 by 4", "equation 1", "`0.5321`", "$0.5321$", "{math}`0.5321`"):
        assert not stray_figures(f"# Title\n\nIt is {plain}.\n"), plain


@pytest.mark.course
@per_chapter
def test_a_chapters_minutes_come_from_the_list_and_are_honest(page: Path) -> None:
    assert re.search(r"\{glue:text\}`minutes`\s+minutes", text_of(page))
    assert not re.findall(r"\b\d+ minutes", prose(text_of(page)))
    hidden = {"hide-input", "remove-input", "remove-cell"}
    shown = [cell.source for cell in code_cells(text_of(page)) if not hidden & set(cell.metadata.get("tags", ()))]
    words, lines = len(prose(text_of(page)).split()), sum(len(re.findall(r"\S.*", source)) for source in shown)
    tasks = sum(int(asked.id.split(".")[0]) == int(page.stem[:2]) for asked in exercises())
    tasks += page.stem == "00_start"  # the set-up, and the first exercise
    told, expected = minutes(page.stem), words / 200 + lines / 10 + 15 * tasks
    assert told == pytest.approx(expected, abs=15), f"vitcourse/course.toml: {page.stem} takes about {expected:.0f}"


SHARED = ["Questions", "In short", "What goes wrong in practice", "Further reading"]


@per_chapter
def test_chapters_end_alike(page: Path) -> None:
    titles = re.findall(r"^## (.+)$", text_of(page), re.MULTILINE)
    assert [title for title in titles if title in SHARED] == SHARED
    assert "When you have finished this" in text_of(page)


@per_page
def test_no_cell_is_wider_than_a_narrow_page_shows(page: Path) -> None:
    gone = {"remove-input", "remove-cell"}
    for cell in code_cells(text_of(page)):
        if not gone & set(cell.metadata.get("tags", ())):
            assert [line for line in cell.source.splitlines() if len(line) > 76] == []
    fenced = [block for block in blocks(text_of(page)) if isinstance(block, str) and block.lstrip().startswith("```")]
    assert [line for block in fenced for line in block.splitlines() if len(line) > 80] == []


@per_chapter
def test_a_cell_that_begins_with_imports_is_folded(page: Path) -> None:
    if page.stem == "00_start":
        return  # it teaches what they are
    for cell in code_cells(text_of(page)):
        if len(re.findall(r"^(?:import|from) ", cell.source, re.MULTILINE)) > 3:
            assert {"hide-input", "remove-input", "remove-cell"} & set(cell.metadata.get("tags", ())), cell.source


@per_page
def test_what_a_cell_makes_to_be_shown_is_shown(page: Path) -> None:
    """A table is on the page where it is a cell's last line, or displayed."""
    for cell in code_cells(text_of(page)):
        body = ast.parse(re.sub(r"^%.*", "", cell.source, flags=re.MULTILINE)).body
        for line in (node for node in ast.walk(ast.Module(body, [])) if isinstance(node, ast.Expr)):
            makes = ast.unparse(line).partition("(")[0] in ("table", "Markdown", "HTML", "Image", "SVG")
            assert not makes or line is body[-1], cell.source


FOREIGN = re.compile(
    r"\b(?:shall|optimizers?|normalization)\b|\bbehind (?:the|each|every) (?:block|norm|branch|head|GELU)s?\b"
    r"|\bWho \w+s\b(?![^.]*\?)"
)


@per_page
def test_the_prose_is_plain_british_english(page: Path) -> None:
    assert [match[0] for match in FOREIGN.finditer(prose(text_of(page)))] == []


def test_the_counts_of_public_code_name_checks_that_there_are() -> None:
    import tomllib

    file = root() / "vitcourse" / "checking" / "misconceptions.toml"
    known = {(entry["exercise"], entry["name"]) for entry in tomllib.loads(text_of(file))["wrong"]}
    found = json.loads(text_of(root() / "benchmarks" / "results" / "public_code.json"))
    ids = {asked.id for asked in exercises()}
    for part in found["parts"]:
        assert part["wrong"] <= part["of"]
        assert sum(kind["count"] for kind in part["kinds"]) >= part["wrong"]
        for kind in part["kinds"]:
            assert kind["exercise"] in ids
            assert {(kind["exercise"], name) for name in kind["caught_as"]} <= known


def test_each_source_that_is_cited_is_in_the_bibliography() -> None:
    sources = markdown.read_book(BOOK).sources
    for page in PAGES:
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text_of(page)):
            assert {key.strip() for key in keys.split(",")} <= set(sources), page


@per_page
def test_no_page_names_both_sets_of_chapters_in_its_cells(page: Path) -> None:
    """In the notebook of the page the one becomes the other."""
    code = "\n".join(cell.source for cell in code_cells(text_of(page)))
    assert not re.search(r"^\s*(?:from|import) chapters\b", code, re.MULTILINE)


# Quizzes


GOOD = """
- question: Which *axis*?
  answers:
    - {text: "`N`", right: true, why: There are N patches.}
    - {text: 4, why: That one counts images.}
"""


def test_a_quiz_is_read() -> None:
    (question,) = quiz.parse(GOOD)
    assert question.text == "Which *axis*?"
    assert question.answers[0] == quiz.Answer("`N`", True, "There are N patches.")
    assert question.answers[1].text == "4"


def test_answers_stand_in_an_order_of_their_own_the_same_at_every_build() -> None:
    places: dict[int, int] = {}
    for page in CHAPTERS:
        questions = [question for block in directives(text_of(page), "quiz") for question in quiz.parse(block.body)]
        own = [[answer.right for answer in question.shuffled].index(True) for question in questions]
        assert len(set(own)) > 1, f"{page.stem}: the right answer is always in place {own[0] + 1}"
        for question in questions:
            assert sorted(question.shuffled, key=str) == sorted(question.answers, key=str)
            assert question.shuffled == quiz.Question(question.text, question.answers[::-1]).shuffled
        for place in own:
            places[place] = places.get(place, 0) + 1
    several = sum(places.values())
    assert all(places[place] > several / 6 for place in range(3)), places


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "a quiz is a list"),
        ("question: x", "a quiz is a list"),
        ("- question: [", "not YAML"),
        ("- question: x", "question 1 needs 'question' and 'answers'"),
        (GOOD.replace("right: true, ", ""), "question 1 has 0 right answers"),
        (GOOD.replace("text: 4", "text: 4, right: true"), "question 1 has 2 right answers"),
        (GOOD.replace(", why: That one counts images.", ""), "question 1, answer 2 needs 'text' and 'why'"),
        (GOOD.replace("That one counts images.", ""), "question 1, answer 2: 'why' is no text"),
        (GOOD.replace("right: true", "right: maybe"), "'right' is 'maybe'"),
        (GOOD.replace("text: 4", "txt: 4"), "question 1, answer 2 needs"),
        ("- {question: x, answers: [{text: a, why: b, right: true}]}", "at least two answers"),
    ],
)
def test_a_quiz_that_is_not_whole_says_so_in_one_line(body: str, said: str) -> None:
    with pytest.raises(quiz.QuizError, match=re.escape(said)) as caught:
        quiz.parse(body)
    assert "\n" not in str(caught.value)


# Directives, in Sphinx


def sphinx_page(folder: Path, text: str, name: str = "index", anew: bool = True, **settings: str) -> tuple[str, str]:
    """A page of that text and name as HTML, and Sphinx's warnings; not anew, only what has changed is built."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    (folder / f"{name}.md").write_text(f"# Title\n\n{text}\n", encoding="utf-8")
    extensions = ["myst_parser", "vitcourse.book.extension"]
    config = {"extensions": extensions, "myst_enable_extensions": ["colon_fence", "dollarmath"], "smartquotes": False}
    config |= {"root_doc": name, **settings}
    warnings = io.StringIO()
    with docutils_namespace():
        places = (folder, None, folder / "_build" / "html", folder / "_build" / "doctrees")
        app = Sphinx(*places, "html", confoverrides=config, status=None, warning=warnings, freshenv=anew)
        app.build()
    return (folder / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8"), warnings.getvalue()


def test_the_directives_make_their_parts(tmp_path: Path) -> None:
    page, warnings = sphinx_page(
        tmp_path,
        f"```{{exercise}} 1.1\nMore.\n```\n\n```{{solution}} 1.1\n```\n\n"
        f":::{{predict}} What *shape* is $x$?\nSome.\n:::\n\n```{{quiz}}\n{GOOD}\n```\n\n"
        "See {ref}`1.1 <exercise-1.1>`.",
    )
    assert not warnings
    assert 'id="exercise-1.1"' in page
    assert 'id="solution-1.1"' in page
    assert page.count('href="#exercise-1.1"') == 2  # the solution's way back, and the sentence
    assert page.count('href="#solution-1.1"') == 1
    assert page.count('type="radio"') == 2
    assert page.count("<details") == 3 + 1 + 1  # hints, "I have tried", the answers explained
    assert "uv run vitcourse check 1.1" in re.sub(r"<[^>]+>", "", page)
    assert "Cut an image into patches" in page
    assert "<em>shape</em>" in page
    assert "raise" in page.partition('id="solution-1.1"')[0]
    assert "rearrange" in page.partition('id="solution-1.1"')[2]


def test_an_equations_number_names_its_chapter_and_is_the_notebooks(tmp_path: Path) -> None:
    folder = tmp_path / "03_three"
    folder.mkdir()
    label = "```{math}\n:label: eq-one\nx\n```\n\n"
    page, warnings = sphinx_page(folder, f"{label}See {{eq}}`eq-one`.", name="03_three")
    assert not warnings
    assert '<span class="eqno">(3.1)' in page
    assert re.search(r"See <a [^>]*>.*\(3\.1\)", page)
    assert 'href="notebooks/03_three.ipynb"' in page
    assert "Colab" not in page
    (tmp_path / "03_three.md").write_text(label, encoding="utf-8")
    (tmp_path / "04_four.md").write_text(label.replace("eq-one", "eq-two"), encoding="utf-8")
    book = markdown.read_book(tmp_path)
    assert markdown.inline("{eq}`eq-one` and {eq}`eq-two`", book) == "(3.1) and (4.1)"


def test_with_a_repository_chapters_lead_to_colab(tmp_path: Path) -> None:
    import nbformat

    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "03_three.md").write_text("# Three\n", encoding="utf-8")
    page, _ = sphinx_page(tmp_path, "One:\n\n- two\n- three.\n\nMore.", "03_three", vitcourse_repository="someone/vit")
    assert '<meta name="description" content="One: two three." />' in page, "its own words, not the ways to a notebook"
    made = nbformat.read(tmp_path / "_build" / "html" / "notebooks" / "03_three.ipynb", as_version=4)
    nbformat.validate(made)
    assert "%pip install --quiet git+https://github.com/someone/vit\n" in made.cells[1].source
    assert 'href="https://colab.research.google.com/github/someone/vit/blob/gh-pages/notebooks/03_three.ipynb"' in page


def test_the_search_knows_the_terms_of_pages_that_are_not_built_again(tmp_path: Path) -> None:
    from sphinx.search import js_index

    (tmp_path / "glossary.md").write_text("# Glossary\n\n```{glossary}\npatch\n  A piece.\n```\n", encoding="utf-8")

    def search(text: str) -> Any:
        sphinx_page(tmp_path, f"```{{toctree}}\nglossary\n```\n\n{text}", anew=False)
        return js_index.loads((tmp_path / "_build" / "html" / "searchindex.js").read_text(encoding="utf-8"))

    first, second = search("One."), search("One word.")
    assert first["indexentries"].keys() == {"patch"}
    assert second["terms"].keys() - first["terms"].keys() == {"word"}
    assert second["indexentries"] == first["indexentries"]


def test_a_table_escapes_its_text_and_leads_where_a_link_says() -> None:
    from vitcourse.book.tables import table

    shown = table([{"a": "x < y", "b": ("1 & 2", "p.html?q=1&r=2")}])._repr_html_()
    assert "x &lt; y" in shown
    assert '<a href="p.html?q=1&amp;r=2">1 &amp; 2</a>' in shown


def test_a_directive_that_is_not_whole_is_a_warning_with_its_line(tmp_path: Path) -> None:
    wrong = {
        "```{exercise} 9.9\n```": "there is no exercise 9.9",
        "```{solution} one\n```": "there is no exercise one",
        "```{solution} 1.1\n```\n" + "\n```{exercise} 1.1\n```\n" * 2: "exercise 1.1 stands already on the page index",
        "```{quiz}\n- question: x\n```": "quiz: question 1 needs",
        "```{exercise}\n```": "1 argument(s) required",
        "```{living} wheel\n```": "there is no explorable wheel",
        "```{architecture} 9.9\n```": "9.9 is no exercise, no chapter and no part",
    }
    _, warnings = sphinx_page(tmp_path, "\n\n".join(wrong))
    problems = site.problems(re.sub(r"\x1b\[[0-9;]*m", "", warnings).splitlines(), tmp_path)
    places, texts = zip(*(problem.split(": ", 1) for problem in problems), strict=True)
    assert all(said in text for said, text in zip(wrong.values(), texts, strict=True)), texts
    lines = [int(place.removeprefix("index.md, line ")) for place in places]
    assert lines == sorted(set(lines)), lines
    assert lines[0] >= 3


# Building


def test_what_sphinx_says_becomes_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    page = tmp_path / "book" / "01_patches.md"
    page.write_text("# One\n\n```{code-cell}\nx = 1\n\ny = z\n```\n", encoding="utf-8")
    said = [
        "reading sources... [ 5%] book/01_patches",
        "[IPKernelApp] WARNING | not of the book",
        f"{page}:12: WARNING: undefined label: 'nowhere' [ref.ref]",
        f"{tmp_path}/vitcourse/course.py:docstring of vitcourse.course.select:3: ERROR: Unexpected indentation.",
        "WARNING: a thing without a place",
        f"{page}: WARNING: Executing notebook failed: CellExecutionError [mystnb.exec]",
        "Traceback (most recent call last):",
        "nbclient.exceptions.CellExecutionError: An error occurred while executing the following cell:",
        "------------------",
        "x = 1",
        "",
        "y = z",
        "------------------",
        "",
        "NameError                                 Traceback (most recent call last)",
        "NameError: name 'z' is not defined",
        "RuntimeError:",
    ]
    assert site.problems(said, tmp_path) == [
        "book/01_patches.md, line 12: undefined label: 'nowhere' [ref.ref]",
        "vitcourse/course.py:docstring of vitcourse.course.select, line 3: Unexpected indentation.",
        "a thing without a place",
        "book/01_patches.md, line 4: a cell failed: NameError: name 'z' is not defined",
    ]


def test_the_fingerprints_see_what_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "package", lambda: tmp_path / "vitcourse")
    for name in ("vitcourse/book", "solutions", "benchmarks/results", "book", "chapters"):
        (tmp_path / name).mkdir(parents=True)
    files = {
        "vitcourse/data.py": "code",
        "vitcourse/course.toml": "code",
        "vitcourse/book/style.py": "code",
        "solutions/ch01_patches.py": "code",
        "benchmarks/results/digits.json": "code",
        "vitcourse/book/directives.py": "code",
        "_toc.yml": "code",
        "book/01_patches.md": "everything",
        "_config.yml": "everything",
        "chapters/ch01_patches.py": "nothing",
    }
    for name in files:
        (tmp_path / name).write_text("1", encoding="utf-8")

    def now() -> dict[str, str]:
        kinds = {"code": fingerprint.code, "everything": fingerprint.everything}
        return {kind: made(tmp_path) for kind, made in kinds.items()}

    for name, kind in files.items():
        before = now()
        (tmp_path / name).write_text("2", encoding="utf-8")
        changed = {word for word, value in now().items() if value != before[word]}
        assert changed == ({kind, "everything"} if kind != "nothing" else set()), name


def test_a_site_is_current_only_when_it_was_built_from_this(tmp_path: Path) -> None:
    output = tmp_path / "_build" / "html"
    (output / "book").mkdir(parents=True)
    assert not fingerprint.is_current(tmp_path, output)
    (output / "book" / "index.html").touch()
    fingerprint.record(output).write_text(fingerprint.everything(tmp_path), encoding="utf-8")
    assert fingerprint.is_current(tmp_path, output)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.md").touch()
    assert not fingerprint.is_current(tmp_path, output)


def test_cells_outputs_are_kept_under_the_code_that_made_them_and_no_other(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from vitcourse.book.extension import _follow_the_code

    for name in ("vitcourse", "solutions"):
        (tmp_path / name).mkdir()
    app = SimpleNamespace(srcdir=tmp_path, outdir=tmp_path / "_build" / "html")

    def follow() -> Path:
        config: dict[str, str] = {}
        _follow_the_code(app, config)
        return Path(config["nb_execution_cache_path"])

    first = follow()
    assert follow() == first
    (tmp_path / "solutions" / "ch01_patches.py").write_text("x = 1", encoding="utf-8")
    second = follow()
    assert second != first
    assert list(first.parent.iterdir()) == [second]


# The command


def test_a_port_that_is_taken_is_one_line(type_in: Callable[..., Ended]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = f"vitcourse: port {port} is taken; type another after --port, or leave --port out\n"
        assert type_in("book", "--port", port) == (2, "", said)


def test_without_a_port_another_is_found_when_the_usual_one_is_taken(tmp_path: Path) -> None:
    with command.server(tmp_path, None) as first, command.server(tmp_path, None) as second:
        assert command.address(first) != command.address(second)


def test_the_server_serves_the_folder_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the book", encoding="utf-8")
    with command.server(tmp_path, None) as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with urllib.request.urlopen(command.address(server)) as answer:
            assert answer.read() == b"the book"
            assert answer.headers["Cache-Control"] == "no-cache"
        server.shutdown()


def test_a_files_name_without_pdf_is_refused(type_in: Callable[..., Ended]) -> None:
    said = "vitcourse: book.pdf would be a PDF's name; type: vitcourse book --pdf book.pdf\n"
    assert type_in("book", "book.pdf") == (2, "", said)


def test_a_folder_for_the_pdf_that_is_not_there_is_said_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setattr(command, "_build", lambda *_: pytest.fail("it was built first"))
    with pytest.raises(RequestError, match="there is no folder"):
        command.show_book(Console(), pdf=True, file=tmp_path / "gone" / "a.pdf", open_it=False, port=None, serve=False)


@pytest.mark.parametrize("missing", ["_config.yml", "_toc.yml", "book"])
def test_a_part_of_the_book_that_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in {"_config.yml", "_toc.yml", "book"} - {missing}:
        (tmp_path / name).touch()
    monkeypatch.setattr(site, "root", lambda: tmp_path)
    with pytest.raises(RequestError, match=re.escape(f"the book's {missing} is not in")):
        site.find()


def test_a_build_that_fails_says_the_first_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["book/a.md:3: WARNING: one", "book/b.md:4: WARNING: two"]
    monkeypatch.setattr(site, "_run", lambda *_: (said, 1))
    with pytest.raises(RunError, match=r"the book is not built: book/a.md, line 3: one \(and 1 more, above\)"):
        site.build(site.Site(tmp_path), lambda _: None)
    assert capsys.readouterr().err == "vitcourse: book/b.md, line 4: two\n"
    monkeypatch.setattr(site, "_run", lambda *_: (["RecursionError: too deep", "RuntimeError:", "look above"], 1))
    with pytest.raises(RunError, match="jupyter-book ended with 1: RecursionError: too deep"):
        site.build(site.Site(tmp_path), lambda _: None)
    monkeypatch.setattr(site, "_run", lambda *_: (["some trouble", "==="], 1))
    with pytest.raises(RunError, match="jupyter-book ended with 1: some trouble"):
        site.build(site.Site(tmp_path), lambda _: None)


def test_a_browser_that_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitcourse.book import browser

    monkeypatch.setenv("VITCOURSE_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(RunError, match=r"none doesn't start: .*sudo apt-get install chromium"), browser.launch():
        pass


def test_nothing_to_build_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rich.console import Console

    monkeypatch.setattr("vitcourse.book.command.find", lambda: site.Site(tmp_path))
    monkeypatch.setattr("vitcourse.book.command.build", lambda *_: False)
    out = io.StringIO()
    show_book(Console(file=out), pdf=False, file=None, open_it=False, port=None, serve=False)
    assert out.getvalue().startswith("nothing has changed")


# What the cells import


def test_the_seven_is_a_seven_that_no_model_has_trained_on() -> None:
    from vitcourse.book import seven
    from vitcourse.data import load_dataset

    digits = load_dataset("digits")
    image = seven()
    assert image.shape == (1, 1, 8, 8)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    same = [bool((other == image[0]).all()) for other in digits.test_images]
    assert digits.test_labels[same.index(True)] == 7
    assert not any(bool((other == image[0]).all()) for other in digits.train_images)
    image[0] = 0
    assert seven().max() > 0, "a reader who writes into it gets a copy"


def test_results_are_read_from_their_files() -> None:
    from vitcourse.book import results

    assert (
        results("digits")["mean_accuracy"]
        == json.loads(text_of(root() / "benchmarks/results/digits.json"))["mean_accuracy"]
    )
    with pytest.raises(RequestError, match=r"there are .*digits"):
        results("none")


def test_the_style_draws_images_and_matrices() -> None:
    import torch
    from matplotlib.figure import Figure

    from vitcourse.book import style

    style.use()
    axes = Figure().subplots()
    for image in (
        torch.rand(8, 8),
        torch.rand(1, 8, 8),
        torch.rand(1, 1, 8, 8),
        torch.rand(3, 8, 8, requires_grad=True),
    ):
        style.show_image(axes, image)
    drawn = style.show_matrix(axes, torch.tensor([[-1.0, 3.0]]), signed=True)
    assert drawn.get_clim() == (-3, 3)
    style.patch_lines(axes, 8, 8, 4)


# Notebooks


@per_chapter
def test_a_notebook_is_plain_markdown_and_code_on_the_learners_chapters(page: Path) -> None:
    import nbformat

    made = make_notebook(page)
    nbformat.validate(nbformat.from_dict(made))
    book_cells = [cell.source for cell in code_cells(text_of(page))]
    texts = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown"]
    code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    for text in texts:
        bare = re.sub(r"```.*?```|(`+).+?\1", "", text, flags=re.DOTALL)
        assert not re.search(r"\{[a-z:]+\}`|^[`:]{3,}\{|^\([\w-]+\)=$", text, re.MULTILINE), text
        assert not re.search(r"\]\((?!https?:)[^)]*\)", bare), text
        assert text.count("<details>") == text.count("</details>")
    own = [source for source in code if not re.match(r"import importlib\.util|say\(|%%exercise", source)]
    assert len(own) == len(book_cells)
    assert not any(re.search(r"\bsolutions\b", source) for source in code)
    for source in own:
        compile(source, page.name, "exec", ast.PyCF_ONLY_AST)
    text = "\n".join(texts)
    number = int(page.stem[:2])
    for asked in (asked for asked in exercises() if asked.id.startswith(f"{number}.")):
        assert f"### Exercise {asked.id}: {asked.title}" in text
        assert f"uv run vitcourse check {asked.id}" in text


def test_directives_and_roles_become_plain_markdown() -> None:
    book = markdown.Book({"a-label": "A place"}, {"vaswani2017": ("Vaswani et al.", "2017", "https://x.org")})
    said = markdown.all_plain(
        """
(a-label)=
## A place

A {term}`token <tokens>` of {math}`d_k`, see {ref}`a-label`, {ref}`1.1 <exercise-1.1>`, {cite:p}`vaswani2017` and
{cite:t}`vaswani2017`, equation {eq}`eq-two`, [chapter 0](00_start.md), `{ref}` and [a page](https://y.org).

```{math}
:label: eq-two
x^2
```

:::{predict} Mind {term}`this`?
:::

```python
"{ref}`stays`"
```
""",
        book,
    )
    assert said == (
        "## A place\n\n"
        "A token of $d_k$, see A place, 1.1, ([Vaswani et al., 2017](https://x.org)) and\n"
        "[Vaswani et al. (2017)](https://x.org), equation (1), chapter 0, `{ref}` and [a page](https://y.org).\n\n"
        "$$\nx^2 \\tag{1}\n$$\n\n"
        "**Predict, then run: Mind this?**\n\n"
        '```python\n"{ref}`stays`"\n```'
    )
    for text, said in (
        ("```{unheard-of}\n```", "directive 'unheard-of'"),
        ("{unheard}`of`", "role 'unheard'"),
        ("{cite:t}`nobody`", "'nobody' is not in references.bib"),
        ("```{note}\nopen", "is not closed"),
    ):
        with pytest.raises(markdown.MarkdownError, match=said):
            markdown.all_plain(text, book)


def test_a_value_that_a_cell_computed_is_shown_by_a_cell() -> None:
    from vitcourse.book.cells import glue, say

    glue("loss", 0.12345, display=False)
    assert say("It ends at {glue:text}`loss:.2f` ({glue:text}`loss`).").data == "It ends at 0.12 (0.12345)."


@pytest.fixture
def clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitcourse.book.notebook.make_notebook", cache(make_notebook))
    return tmp_path


def test_a_notebook_that_was_run_is_written_anew_and_one_with_edits_never(clean_folder: Path) -> None:
    file = clean_folder / "notebooks" / "01_patches.ipynb"
    assert write_notebook("1").startswith("notebooks/01_patches.ipynb\n")
    fresh = json.loads(text_of(file))
    assert "as it would be written" in write_notebook("ch01_patches")

    def save(notebook: dict[str, Any]) -> None:
        file.write_text(json.dumps(notebook), encoding="utf-8")

    # run, and saved by a program that keeps a source as one string, with metadata of its own
    ran = json.loads(json.dumps(fresh))
    for cell in ran["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 1, "outputs": [{"output_type": "stream", "name": "stdout", "text": ["x"]}]}
    ran["metadata"]["language_info"]["version"] = "3.12"
    save(ran)
    assert "as it would be written" in write_notebook("1")
    assert json.loads(text_of(file)) == ran, "the outputs are kept"

    # made by an earlier book, and not edited since
    from vitcourse.book.notebook import _hash

    old = json.loads(json.dumps(fresh))
    old["cells"] = old["cells"][:-1]
    old["metadata"]["vitcourse"]["hash"] = _hash(old["cells"])
    save(old)
    write_notebook("1")
    assert json.loads(text_of(file)) == fresh

    # edited: a word, a cell more, a cell fewer; and what is no notebook of ours
    edits = [json.loads(json.dumps(fresh)) for _ in range(4)]
    edits[0]["cells"][2]["source"] += " mine"
    edits[1]["cells"].append({"cell_type": "code", "source": "mine = 1", "metadata": {}, "outputs": []})
    edits[2]["cells"].pop()
    del edits[3]["metadata"]["vitcourse"], edits[3]["cells"][0]
    others = [{"mine": True}, {"cells": [], "metadata": {"vitcourse": []}}, {"cells": [{"cell_type": 1, "source": 2}]}]
    texts = [json.dumps(edit).encode() for edit in [*edits, *others]]
    for text in [*texts, b"\xff mine", b"[" * 100_000]:
        file.write_bytes(text)
        with pytest.raises(RequestError, match="has your edits, which are kept"):
            write_notebook("1")
        assert file.read_bytes() == text
    assert [path.name for path in file.parent.iterdir()] == [file.name], "no half-written file is left"


def test_a_notebook_goes_where_it_is_told(clean_folder: Path) -> None:
    assert "open it with: jupyter lab" in write_notebook("3", clean_folder / "mine.ipynb")  # uv has no project here
    assert "jupyter lab 'my notes.ipynb'" in write_notebook("3", Path("my notes.ipynb"))
    assert (clean_folder / "mine.ipynb").is_file()
    assert not (clean_folder / "notebooks").exists()
    write_notebook("3", clean_folder)
    assert (clean_folder / "03_attention.ipynb").is_file()
    with pytest.raises(RequestError, match="can't write"):
        write_notebook("3", clean_folder / "none" / "mine.ipynb")
    with pytest.raises(RequestError, match=r"type: vitcourse notebook 3 --output \S*mine.ipynb$"):
        write_notebook("3", clean_folder / "mine.txt")
    with pytest.raises(RequestError, match=r"there is no chapter '9' in the book; type one of 0, 1, 2, 3, 4, 5"):
        write_notebook("9")
    assert find_page(BOOK, "ch03") == find_page(BOOK, "3") == find_page(BOOK, "03_attention")


@pytest.mark.book
@pytest.mark.usefixtures("forked_kernels")
@per_chapter
def test_a_notebook_runs_from_a_clean_folder_on_the_solutions(page: Path, clean_folder: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    shutil.copytree(root() / "solutions", clean_folder / "chapters")
    write_notebook(page.stem)
    notebook = nbformat.read(clean_folder / "notebooks" / f"{page.stem}.ipynb", as_version=4)
    module = f"chapters.ch{page.stem}"
    written = module in text_of(page).replace("solutions.", "chapters.")
    asks = f"import {module}; print({module}.__file__)" if written else "print()"
    notebook.cells.append(nbformat.v4.new_code_cell(asks))
    # The kernel's folder comes before everything else that it imports from.
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(clean_folder)}}).execute()
    *outputs, where = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert not [out for out in outputs if out.output_type == "error"]
    pictures = sum("image/svg+xml" in out.get("data", {}) for out in outputs)
    drawing = sum(bool(cell.metadata.get("mystnb", {}).get("image")) for cell in code_cells(text_of(page)))
    assert pictures >= drawing
    assert str(clean_folder) in where.text or not written
