"""MyST as plain Markdown: what a notebook outside the book can show.

Directives become headings, quotes and <details>; roles become text, links or formulas. A directive or role that isn't
known here is an error, so that none is ever left standing in a notebook.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitcourse.book import quiz
from vitcourse.course import exercise

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


class MarkdownError(ValueError):
    """What can't be said in plain Markdown, in one line."""


@dataclass(frozen=True)
class Directive:
    """```{name} argument, its options and its body."""

    name: str
    argument: str
    options: Mapping[str, str]
    body: str


@dataclass
class Book:
    """What references mean: the titles of labelled places, how sources are cited, the numbers of equations."""

    titles: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)  # key: authors, year, address
    equations: dict[str, str] = field(default_factory=dict)

    def title(self, target: str) -> str:
        """What a place or a page is called; its own name where nobody has named it."""
        name = target.lstrip("#").removesuffix(".md")
        return self.titles.get(name) or self.titles.get(name.rpartition("/")[2]) or name

    def equation(self, label: str) -> str:
        """The equation's number; one that no page has is counted as it is met."""
        return self.equations.setdefault(label, str(len(self.equations) + 1))


_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)$")
_INLINE = re.compile(
    r"\{(?P<role>[\w:-]+)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)(?!`)"  # a role
    r"|(?P<code>(?P<marks>`+)(?!`).+?(?<!`)(?P=marks)(?!`))"  # code, left alone
    r"|(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<target>[^)\s]+)\)",  # a link
    re.DOTALL,
)
_TITLED = re.compile(r"^(?P<text>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
_LABEL = re.compile(r"^\(([\w.:-]+)\)=\s*$")
_EQUATION = re.compile(r"^:label: (\S+)$", re.MULTILINE)


def blocks(text: str) -> Iterator[str | Directive]:
    """The text in its parts: paragraphs (and lists, and code, and tables) as they stand, and directives."""
    lines = text.splitlines()
    for token in _parser().parse(text):
        if token.level or token.map is None:
            continue
        start, end = token.map
        found = _DIRECTIVE.match(token.info.strip()) if token.markup[:1] in ("`", "~", ":") else None
        if found is None:
            yield "\n".join(lines[start:end]).rstrip()
        elif not lines[end - 1].strip().startswith(token.markup):
            raise MarkdownError(f"{lines[start].strip()} is not closed")
        else:
            yield _directive(found["name"], found["argument"], token.content.splitlines())


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt
    from mdit_py_plugins.colon_fence import colon_fence_plugin

    return MarkdownIt("commonmark").use(colon_fence_plugin)


def _directive(name: str, argument: str, lines: list[str]) -> Directive:
    options: dict[str, str] = {}
    while lines and (option := re.match(r"^:([\w-]+):(.*)", lines[0])):
        options[option[1]] = option[2].strip()
        lines = lines[1:]
    return Directive(name, argument.strip(), options, "\n".join(lines).strip("\n"))


def plain(block: str | Directive, book: Book) -> str:
    """A block as plain Markdown; empty when there is nothing to show."""
    if isinstance(block, Directive):
        kind = block.name
        if kind not in _DIRECTIVES:
            raise MarkdownError(f"no plain Markdown for the directive {kind!r}; add it to vitcourse/book/markdown.py")
        return _DIRECTIVES[kind](block, book)
    kept = [line for line in block.splitlines() if not _LABEL.match(line) and not line.startswith("%")]
    return inline("\n".join(kept), book)


def all_plain(text: str, book: Book) -> str:
    """A whole text as plain Markdown."""
    return "\n\n".join(part for part in (plain(block, book) for block in blocks(text)) if part)


def inline(text: str, book: Book) -> str:
    """Text with its roles as plain Markdown. `glue` stays: only a running notebook knows its value."""

    def replaced(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        if match["role"]:
            return _role(match["role"], " ".join(match["content"].split()), match[0], book)
        return _link(match["text"], match["target"], match[0], book)

    return _INLINE.sub(replaced, text)


def _link(text: str, target: str, whole: str, book: Book) -> str:
    if re.match(r"^(https?:|mailto:|#cell)", target):
        return whole
    return inline(text, book) or book.title(target)


def _role(role: str, content: str, whole: str, book: Book) -> str:
    titled = _TITLED.match(content)
    text, target = (titled["text"], titled["target"]) if titled else ("", content)
    if role.startswith("glue"):
        return whole
    if role == "math":
        return f"${content}$"
    if role == "term":
        return text or content
    if role == "ref":
        return text or book.title(target)
    if role == "eq":
        return f"({book.equation(content)})"
    if role.startswith("cite"):
        return _cited(role, content, book)
    raise MarkdownError(f"no plain Markdown for the role {role!r}; add it to vitcourse/book/markdown.py")


def _cited(role: str, content: str, book: Book) -> str:
    cited = []
    for key in (word.strip() for word in content.split(",")):
        if key not in book.sources:
            raise MarkdownError(f"{key!r} is not in references.bib")
        authors, year, address = book.sources[key]
        text = f"{authors} ({year})" if role.endswith("t") else f"{authors}, {year}"
        cited.append(f"[{text}]({address})" if address else text)
    return ", ".join(cited) if role.endswith("t") else f"({'; '.join(cited)})"


def folded(summary: str, body: str) -> str:
    """A <details>; what is in it is Markdown."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def _exercise(block: Directive, book: Book) -> str:
    asked = exercise(block.argument)
    names = " and ".join(f"`{name}`" for name in asked.names)
    parts = [
        f"### Exercise {asked.id}: {asked.title}",
        all_plain(block.body, book),
        f"Write {names} in the next cell, and run it: it puts your answer into `chapters/{asked.module}.py`, checks "
        f"it, and shows what came out. In a terminal the check is:\n\n```sh\nuv run vitcourse check {asked.id}\n```",
    ]
    parts += [folded(f"Hint {n} of {len(asked.hints)}", _escaped(hint)) for n, hint in enumerate(asked.hints, 1)]
    shown = f"One right answer of many:\n\n```\n%solution {asked.id}\n```"
    return "\n\n".join(part for part in [*parts, folded("I have tried", shown)] if part)


def _escaped(text: str) -> str:
    """Plain words, of which Markdown is to make nothing."""
    return re.sub(r"([\\`*_\[\]<>$])", r"\\\1", text)


def _predict(block: Directive, book: Book) -> str:
    head = f"**Predict, then run: {inline(block.argument, book)}**"
    return "\n\n".join(part for part in (head, all_plain(block.body, book)) if part)


def _quiz(block: Directive, book: Book) -> str:
    parts = []
    for question in quiz.parse(block.body):
        choices = "\n".join(f"- {inline(answer.text, book)}" for answer in question.shuffled)
        reasons = "\n".join(
            f"- **{'Right' if answer.right else 'Not right'}:** {inline(answer.text, book)}{answer.end} "
            f"{inline(answer.why, book)}"
            for answer in question.shuffled
        )
        parts.append(f"**{inline(question.text, book)}**\n\n{choices}\n\n{folded('Every answer explained', reasons)}")
    return "\n\n".join(parts)


def _math(block: Directive, book: Book) -> str:
    label = block.options.get("label")
    tag = f" \\tag{{{book.equation(label)}}}" if label else ""
    text = "\n".join(part for part in (block.argument, block.body) if part)
    # As Sphinx does it for equations of several lines.
    body = f"\\begin{{split}}\n{text}\n\\end{{split}}" if r"\\" in text and r"\begin" not in text else text
    return f"$$\n{body}{tag}\n$$"


_DIRECTIVES: dict[str, Callable[[Directive, Book], str]] = {
    "exercise": _exercise,
    "predict": _predict,
    "quiz": _quiz,
    "math": _math,
    **dict.fromkeys(("living", "architecture"), lambda *_: ""),  # a notebook has no scripts of the book's
}


def read_book(folder: Path) -> Book:
    """What the references in the book's pages mean."""
    titles = {}
    equations: dict[str, str] = {}
    for page in sorted(folder.rglob("*.md")):
        waiting = [page.stem]
        text = page.read_text(encoding="utf-8")
        chapter = chapter_number(page.name)
        if chapter:
            labels = _EQUATION.findall(text)
            equations |= {label: f"{chapter}.{place}" for place, label in enumerate(labels, start=1)}
        for line in text.splitlines():
            label = _LABEL.match(line)
            if label:
                waiting.append(label[1])
            elif line.startswith("#"):
                titles.update(dict.fromkeys(waiting, line.lstrip("#").strip()))
                waiting = []
    return Book(titles, _sources(folder / "references.bib"), equations)


def chapter_number(page: str) -> str:
    """The number of the chapter whose page has this name: 3 for 03_attention. Empty for other pages."""
    found = re.match(r"(\d\d)_", page)
    return str(int(found[1])) if found else ""


def _sources(file: Path) -> dict[str, tuple[str, str, str]]:
    if not file.is_file():
        return {}
    from pybtex.database import parse_string

    return {key: _source(entry) for key, entry in parse_string(file.read_text("utf-8"), "bibtex").entries.items()}


def _source(entry: Any) -> tuple[str, str, str]:
    names = [" ".join(person.last_names).strip("{}") for person in entry.persons.get("author", [])]
    words = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    fields = entry.fields
    doi = f"https://doi.org/{fields['doi']}" if "doi" in fields else ""
    return words or fields.get("title", ""), fields.get("year", "no year"), fields.get("url", doi)
