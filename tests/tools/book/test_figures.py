"""Figures that are a part of their page, and lines that are named where they end."""

import io
import re
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("agg")
from matplotlib import pyplot as plt

from vitcourse.book import figures, pdf, style
from vitcourse.places import root


@pytest.fixture
def drawn() -> str:
    """An SVG as a cell draws it, with something to clip and something to point at."""
    with mpl.rc_context():
        style.use()
        fig, ax = plt.subplots()
        ax.plot([0, 1, 2], [0, 30, 2], marker="o", label="a")
        ax.plot([0, 1, 2], [0, 3, 2.01], label="b")
        ax.set_ylim(0, 4)
        style.name_lines(ax)
        file = io.StringIO()
        fig.savefig(file, format="svg")
        plt.close(fig)
    return file.getvalue()


def test_a_figure_takes_the_pages_ink_and_its_letters(drawn: str) -> None:
    assert style.INK in drawn
    assert figures.INK == style.INK
    made = figures.of_the_page(drawn, 'a "line"', "f1")
    assert made.startswith('<svg class="figure f-f1" role="img" aria-label="a &quot;line&quot;"')
    assert style.INK not in made
    assert "currentColor" in made
    assert "var(--figure-blue, #0072b2)" in made
    assert "<text" in made, "text stays text"
    assert "#ffffff" not in made, "and there is no plate"


def test_what_a_figure_points_at_is_in_it_and_in_no_other(drawn: str) -> None:
    one, other = (figures.of_the_page(drawn, "x", name) for name in ("f1", "f2"))

    def places(text: str) -> set[str]:
        return set(re.findall(r'\sid="([^"]+)"', text))

    pointed = {match[1] for match in re.finditer(r'(?:url\(#|href="#)([^)"]+)', one)}
    assert pointed
    assert pointed == places(one)
    assert not places(one) & places(other)


def test_a_figures_own_rules_are_for_it_alone() -> None:
    text = (
        '<svg viewBox="0 0 10 20"><title id="t">x</title><style>svg:root { background: white; }\n'
        "@media (prefers-color-scheme: dark) { svg:root { background: black; } text { fill: red; } }\n"
        ".box { fill: none; }</style><rect class='box'/></svg>"
    )
    made = figures.of_the_page(text, "x", "f1")
    assert "<style>.f-f1 .box { fill: none; }</style>" in made
    assert "white" not in made
    assert "black" not in made
    assert "<title" not in made


def test_letters_in_a_colour_can_be_read_on_a_light_page_and_on_a_dark_one() -> None:
    rules = re.findall(
        r"^(html[^{]*)\{(.*--figure.*)\}", (root() / "book/explorables/living.css").read_text(), re.MULTILINE
    )
    colours = {place.strip(): dict(re.findall(r"--figure-(\w+): (#\w+)", rule)) for place, rule in rules}
    light = colours["html"] | colours['html:not([data-theme="dark"]) svg.figure text']
    for page, ink in (("#ffffff", light), ("#14181e", colours['html[data-theme="dark"]'])):
        assert {
            name: contrast(ink[name], page) for name in figures.NAMES.values() if contrast(ink[name], page) < 4.5
        } == {}
    for letters in style.LETTERS.values():  # in a notebook outside of the book
        assert contrast(letters, "#ffffff") >= 4.5
        assert letters.lower() == light.get(figures.NAMES.get(letters), "#000000")


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""

    def light(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        r, g, b = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05

    return max(light(one), light(other)) / min(light(one), light(other))


def test_lines_are_named_at_their_ends_and_no_name_covers_another() -> None:
    with mpl.rc_context():
        style.use()
        fig, ax = plt.subplots()
        for n in range(3):
            ax.plot([0, 1], [0, 1 + 1e-6 * n], label=f"line {n}")
        ax.plot([0, 1], [0, float("nan")], label="ends early")
        ax.axhline(0.5)
        style.name_lines(ax)
        names = {text.get_text(): text for text in ax.texts}
        assert set(names) == {"line 0", "line 1", "line 2", "ends early"}
        assert [names[f"line {n}"].get_color() for n in range(3)] == [style.LETTERS[c] for c in style.COLOURS[:3]]
        fig.canvas.draw()
        boxes = sorted((text.get_window_extent() for text in names.values()), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
        plt.close(fig)


def test_no_page_has_a_legend_where_names_would_do() -> None:
    book = Path(style.__file__).parents[2] / "book"
    for page in book.glob("*.md"):
        assert not re.search(r"\.legend\(\)", page.read_text(encoding="utf-8")), page.name


def test_in_the_pdf_a_drawing_keeps_its_places_and_links_find_theirs() -> None:
    from bs4 import BeautifulSoup

    text = (
        '<div id="top"><svg><clipPath id="a"/><g clip-path="url(#a)"><use href="#a"/></g>'
        '<a href="two.html#there">x</a><a href="#top">y</a></svg></div>'
    )
    part = BeautifulSoup(text, "html.parser")
    pdf._rebase(part, "one.html", ["one.html", "two.html"])
    assert part.find(id="a") is not None
    assert part.find("use")["href"] == "#a"
    assert [link["href"] for link in part.find_all("a")] == ["#two--there", "#one--top"]
    assert part.find(id="one--top") is not None
