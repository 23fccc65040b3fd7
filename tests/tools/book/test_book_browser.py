"""The built book in a real headless Chromium, from files and over http, with the network watched.

uv run vitcourse book --no-serve && uv run pytest -m book
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from pages import NARROW, WIDE, frames, outside, watched

from vitcourse.book import command, fingerprint
from vitcourse.book.site import Site
from vitcourse.course import chapters, exercises
from vitcourse.places import root

pytestmark = pytest.mark.book

SITE = Site(root())
PAGES = sorted(page.relative_to(root()).with_suffix(".html").as_posix() for page in (root() / "book").rglob("*.md"))
CHAPTERS = [f"book/{chapter.module.removeprefix('ch')}.html" for chapter in chapters()]
EVERY = [*PAGES, "search.html", "genindex.html"]

# What axe finds in the theme's own parts, whatever we write: rule -> (the element's HTML, where it is named upstream).
# There is none left: the title outside of all landmarks (pydata-sphinx-theme#1454) is mended by
# book/templates/book-title.html, docutils' role doc-biblioentry by vitcourse/book/directives.py, and toggles without a
# name don't arise while _toc.yml has no page below a page.
KNOWN: dict[str, tuple[str, str]] = {}


@pytest.fixture(scope="session")
def output() -> Path:
    if not fingerprint.is_current(SITE.root, SITE.output):
        # No skip: these tests are asked for by name, and would pass on a site that isn't there.
        pytest.fail("the book is not built from what is there now; type: uv run vitcourse book --no-serve")
    return SITE.output


@pytest.fixture(scope="module")
def http(output: Path) -> Iterator[str]:
    with command.server(output, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield command.address(server)
        server.shutdown()


@pytest.fixture(params=["file", "http"])
def base(request: pytest.FixtureRequest, output: Path) -> str:
    """Where the site is: a folder, or an address."""
    return f"{output.as_uri()}/" if request.param == "file" else request.getfixturevalue("http")


@pytest.fixture
def open_at(open_page: Callable[..., Any], output: Path) -> Callable[..., Any]:
    """Opens a page, which may move, in a context of its own."""

    def open_it(address: str, **options: Any) -> Any:
        page = open_page(address, **{"reduced_motion": "no-preference", "color_scheme": "light", **options})
        page.evaluate(FORMULAS)
        return page

    return open_it


@pytest.fixture(scope="module")
def open_next(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens one page after another where those before it were: what they have in common is loaded once."""
    pages: dict[str, Any] = {}

    def open_it(address: str, viewport: dict[str, int], color_scheme: str, **options: Any) -> Any:
        if str(options) not in pages:
            pages[str(options)] = watched(browser.new_context(**options).new_page())
        page = pages[str(options)]
        page.goto("about:blank")
        page.asked.clear()
        page.complaints.clear()
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=color_scheme)
        page.goto(address)
        page.evaluate(FORMULAS)
        return page

    yield open_it
    for page in pages.values():
        page.context.close()


@pytest.fixture
def page(open_at: Callable[..., Any]) -> Any:
    return open_at("about:blank")


FORMULAS = "() => window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true"


# A page's formulas take its browser a second or more: all that asks for no state of its own looks at one load.


@pytest.mark.parametrize("name", EVERY)
def test_a_page_from_a_file_is_whole_and_for_everybody(open_next: Callable[..., Any], output: Path, name: str) -> None:
    page = open_next((output / name).as_uri(), WIDE, "light", reduced_motion="reduce")
    is_whole(page, f"{output.as_uri()}/")
    LINKS[page.url] = links(page)
    unfold(page)
    assert page.evaluate(TOUCHING) == [], "words of a drawing touch"
    no_line_of_code_is_cut(page)
    page.set_viewport_size(WIDE)
    assert faults(page) == []


@pytest.mark.parametrize("name", EVERY)
def test_a_narrow_page_over_http_is_whole_and_never_scrolls_sideways(
    open_next: Callable[..., Any], http: str, name: str
) -> None:
    page = open_next(http + name, NARROW, "dark")
    is_whole(page, http)
    unfold(page)
    nothing_scrolls_sideways(page)


def is_whole(page: Any, base: str) -> None:
    assert outside(page, base) == []
    assert page.complaints == []
    formulas = page.locator("article .math")
    if formulas.count():
        assert page.locator("article mjx-container svg").count() >= formulas.count()
        # TeX that can't be read, and, in red, a command that isn't known
        assert page.locator("article :is([data-mml-node=merror], mjx-container [fill=red])").count() == 0
    words = page.evaluate("""() => {
      const article = (document.querySelector("article") ?? document.querySelector("main")).cloneNode(true);
      article.querySelectorAll("pre, code, script").forEach((element) => element.remove());
      return article.textContent;
    }""")
    assert not re.search(r"\\\(|\\\[|\\frac|\$\$", words), "a formula is left as it was typed"
    for image in page.locator("article img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert len((image.get_attribute("alt") or "").split()) >= 5, image.get_attribute("src")
    assert page.locator("article .cell_output").filter(has_text=re.compile(r"<matplotlib|<Axes|<Figure")).count() == 0


# Words beside each other, of one drawing, with less than two pixels between them. Upright ones are lines of one text.
TOUCHING = """() => [...document.querySelectorAll("article svg")].flatMap((drawing) => {
  const words = [...drawing.querySelectorAll("text")]
    .map((word) => [word.textContent.trim(), word.getBoundingClientRect()])
    .filter(([said, box]) => said && box.width > box.height);
  return words.flatMap(([one, a], place) => words.slice(place + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > -2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > Math.min(a.height, b.height) / 3
  ).map(([other]) => [one, other]));
})"""


def no_line_of_code_is_cut(page: Any) -> None:
    for width in (1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        cut = page.evaluate("""() => [...document.querySelectorAll("article pre")]
            .filter((block) => block.scrollWidth > block.clientWidth + 1)
            .map((block) => [block.scrollWidth - block.clientWidth, block.textContent.slice(0, 120)])""")
        assert cut == [], "a line of code is cut on a wide page"


def nothing_scrolls_sideways(page: Any) -> None:
    wide = """() => [...document.querySelectorAll("article *")]
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
        .filter((element) => !element.closest("pre, .math, .shape-trace, .cell_output, .visually-hidden"))
        .filter((element) => !element.closest(".pst-scrollable-table-container, mjx-assistive-mml"))
        .map((element) => element.outerHTML.slice(0, 120))"""
    for scheme in ("dark", "light"):
        in_scheme(page, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], page.evaluate(wide)
        assert page.evaluate(wide) == []
        assert page.evaluate(UNREADABLE) == [], f"words of a figure can't be read, {scheme}"
    cut = """() => [...document.querySelectorAll("article div.math:has(.eqno) > mjx-container")]
        .filter((formula) => formula.scrollWidth > formula.clientWidth + 1)
        .filter((formula) => formula.clientWidth < formula.parentElement.clientWidth - 1)
        .map((formula) => formula.parentElement.id)"""
    assert page.evaluate(cut) == [], "a formula is cut for the sake of its number"


# Words of a figure by their contrast with what is painted at their middle. Those upon an image choose their own colour.
UNREADABLE = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paints = (part) => {
    const { fill, fillOpacity, opacity } = getComputedStyle(part);
    return part.matches("image, :is(path, rect, circle):not(defs *)") && fill !== "none" && fillOpacity * opacity > 0.4;
  };
  return [...document.querySelectorAll("article svg.figure")].flatMap((figure) => {
    figure.scrollIntoView({ block: "center" });
    return [...figure.querySelectorAll("text")].filter((word) => {
      const box = word.getBoundingClientRect();
      const below = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      const ground = below.find((part) => figure.contains(part) && paints(part));
      if (ground?.matches("image")) return false;
      const [a, b] = [word, ground].map((part) =>
        light(part ? getComputedStyle(part).fill : getComputedStyle(document.body).backgroundColor));
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 3;
    }).map((word) => word.textContent.trim());
  });
}"""


# Of elements whose words look alike, in both schemes, one is looked at, on the first page that has it; words of code
# that do are no elements any more. axe holds each against all that lies at its place, which with the thousands of a
# chapter takes longer than all else.
READ_DARK = """() => document.querySelectorAll("body, body :not(svg *)").forEach((element) => {
  const { color, backgroundColor } = getComputedStyle(element);
  element.inDark = color + backgroundColor;
})"""
MARK_LOOKS = """() => {
  const looks = new Map([[null, ""]]), seen = new Set(), again = [];
  const look = (at) => {  // its own, within all that is around it
    if (!looks.has(at)) {
      const { color, backgroundColor, fontSize, fontWeight } = getComputedStyle(at), style = at.getAttribute("style");
      const own = [at.tagName, at.className, style, color, backgroundColor, at.inDark, fontSize, fontWeight];
      looks.set(at, look(at.parentElement) + own);
    }
    return looks.get(at);
  };
  for (const element of document.querySelectorAll("body :not(svg *)")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!says && !element.matches("input, select, textarea")) continue;
    if (!seen.has(look(element))) element.dataset.look = seen.size;
    else if (element.matches("article pre span:not(:has(*))")) again.push(element);
    seen.add(look(element));
  }
  again.forEach((word) => word.replaceWith(word.textContent));
  return [...seen];
}"""
LEAVE_NEW_LOOKS = """(known) => {
  known.forEach((place) => document.querySelector(`[data-look="${place}"]`).removeAttribute("data-look"));
  document.querySelectorAll("svg").forEach((one) => one.replaceChildren());  // of their colours axe can tell nothing
  const kept = new Set();
  for (let at of document.querySelectorAll("[data-look]")) for (; at; at = at.parentElement) kept.add(at);
  const gone = [...document.querySelectorAll("body :not(style, script)")].filter((one) => !kept.has(one));
  gone.filter((one) => kept.has(one.parentElement) && one.textContent.trim()).forEach((one) => one.remove());
}"""
LOOKS: set[str] = set()  # those in which no fault was found
COLOURS = ["color-contrast", "link-in-text-block"]


# The theme lets keys reach what scrolls, 0.3 s after the page has another size.
REACHED = """() => [...document.querySelectorAll('pre, .cell_output > .output')]
    .every(part => part.scrollWidth <= part.clientWidth || part.tabIndex === 0)"""


def faults(page: Any) -> list[str]:
    """What axe finds, but for the theme's own faults."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import TimeoutError as TooLate

    with suppress(TooLate):  # else axe says so
        page.wait_for_function(REACHED, timeout=2000)

    def found(scheme: str, where: str, rules: dict[str, Any]) -> list[str]:
        in_scheme(page, scheme)
        options = {"resultTypes": ["violations"], **rules}
        return [
            f"{scheme} {violation['id']}: {node['target']} {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
            for violation in page.evaluate("async (asked) => (await axe.run(...asked)).violations", [where, options])
            for node in violation["nodes"]
            if not (violation["id"] in KNOWN and re.search(KNOWN[violation["id"]][0], node["html"]))
        ]

    in_scheme(page, "dark")
    page.evaluate(READ_DARK)
    in_scheme(page, "light")
    looks = page.evaluate(MARK_LOOKS)
    page.evaluate(Axe().axe_script)
    told = found("light", "html", {"rules": {rule: {"enabled": False} for rule in COLOURS}})
    page.evaluate(LEAVE_NEW_LOOKS, [place for place, look in enumerate(looks) if look in LOOKS])
    if not LOOKS.issuperset(looks):
        coloured = [one for scheme in ("light", "dark") for one in found(scheme, "[data-look]", {"runOnly": COLOURS})]
        LOOKS.update(() if coloured else looks)
        told += coloured
    return told


def in_scheme(page: Any, scheme: str) -> None:
    """As where the reader's system has changed its colours."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
    frames(page)


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('article details').forEach((details) => { details.open = true; })")


def test_on_a_narrow_page_code_that_scrolls_says_so_at_its_edge(open_at: Callable[..., Any], output: Path) -> None:
    page = open_at((output / CHAPTERS[2]).as_uri(), viewport=NARROW)
    block = page.locator(".card.exercise pre").first
    assert block.evaluate("block => block.scrollWidth > block.clientWidth")
    shades = "block => getComputedStyle(block).backgroundAttachment"
    assert {"local", "scroll"} <= set(re.split(r"[\s,]+", block.evaluate(shades)))


def test_on_a_narrow_page_a_trace_has_room_for_shapes(open_at: Callable[..., Any], output: Path) -> None:
    page = open_at((output / "book/symbols.html").as_uri(), viewport=NARROW)
    table = page.locator(".shape-trace table").first
    shapes = table.locator("thead th").nth(3)
    assert shapes.bounding_box()["width"] > table.bounding_box()["width"] / 3


CONTRAST = """(element) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let ground = element;
  const clear = (place) => /rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(place).backgroundColor);
  while (clear(ground)) { ground = ground.parentElement; }
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(ground).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_can_be_read_under_the_mouse(open_at: Callable[..., Any], output: Path, scheme: str) -> None:
    page = open_at((output / CHAPTERS[0]).as_uri(), color_scheme=scheme)
    for answer in page.locator(".quiz-answer").all()[:4]:
        answer.hover()
        assert answer.evaluate("element => element.matches(':hover')")
        assert answer.locator("span").first.evaluate(CONTRAST) >= 4.5
        answer.click()
        assert answer.locator("span").first.evaluate(CONTRAST) >= 4.5


def links(page: Any) -> tuple[set[str], set[str]]:
    """The addresses that a page links to, and the places in it that can be linked to."""
    hrefs = page.evaluate("() => [...document.querySelectorAll('a[href]')].map((link) => link.getAttribute('href'))")
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    return set(hrefs), set(ids)


LINKS: dict[str, tuple[set[str], set[str]]] = {}  # by address, of the pages that were opened already


def test_every_link_within_the_book_leads_somewhere(page: Any, output: Path) -> None:
    page.route("**/mathjax/**", lambda route: route.abort())  # formulas hold no links
    for address in [(output / name).as_uri() for name in EVERY]:
        if address not in LINKS:
            page.goto(address)
            LINKS[address] = links(page)
    broken = []
    for address, (hrefs, _) in LINKS.items():
        for href in hrefs:
            if not href.startswith(("http:", "https:", "mailto:", "javascript:")):
                target, place = urldefrag(urljoin(address, href))
                if target in LINKS:
                    leads = not place or unquote(place) in LINKS[target][1]
                else:
                    leads = Path(unquote(urlsplit(target).path)).is_file()
                broken += [] if leads else [f"{address}: {href}"]
    assert broken == []


def test_every_exercise_is_there_and_leads_to_its_solution_and_back(page: Any, output: Path) -> None:
    page.route("**/mathjax/**", lambda route: route.abort())
    for name, chapter in zip(CHAPTERS, chapters(), strict=True):
        page.goto((output / name).as_uri())
        cards = page.locator(".card.exercise").evaluate_all("all => all.map((card) => card.id)")
        assert cards == [f"exercise-{asked.id}" for asked in chapter.exercises]
        solutions = (output / "book" / "solutions" / f"{chapter.words[1]}.html").as_uri()
        for asked in chapter.exercises:
            card = page.locator(f'[id="exercise-{asked.id}"]')
            card.get_by_text("I have tried").click()
            there = card.get_by_role("link", name=f"the solution to {asked.id}")
            assert there.evaluate("link => link.href") == f"{solutions}#solution-{asked.id}"
        there.click()
        assert page.url == f"{solutions}#solution-{asked.id}"
        for asked in chapter.exercises:
            back = page.locator(f'[id="solution-{asked.id}"]').get_by_role("link", name=f"exercise {asked.id}")
            assert back.evaluate("link => link.href") == f"{(output / name).as_uri()}#exercise-{asked.id}"
        back.click()
        assert page.url == f"{(output / name).as_uri()}#exercise-{asked.id}"


@pytest.mark.parametrize("name", [name for name in PAGES if "/0" in name])
def test_a_chapter_is_used_with_the_mouse_and_with_the_keyboard(
    open_next: Callable[..., Any], output: Path, name: str
) -> None:
    page = open_next((output / name).as_uri(), WIDE, "light")
    quizzes_are_answered(page)
    assert page.complaints == []
    if name in CHAPTERS:
        hints_and_outputs_unfold(page)
    figures_are_in_the_pages_own_ink_and_say_what_they_show(page)


# What a quiz says to each of its answers, the mouse at its middle; its answers are one stop of the keyboard's.
ANSWER = """(quiz) => {
  const names = new Set(), said = [];
  for (const button of quiz.querySelectorAll("[type=radio]")) {
    const label = button.parentElement;
    label.scrollIntoView({ block: "center" });
    const { x, y, width, height } = label.getBoundingClientRect();
    const hit = document.elementFromPoint(x + width / 2, y + height / 2);
    if (!label.contains(hit)) throw new Error(`${hit?.outerHTML} lies over ${label.outerHTML}`);
    hit.click();
    if (!button.checked) throw new Error(`${label.outerHTML} isn't chosen`);
    names.add(button.name);
    said.push(quiz.querySelector("[role=status]").textContent);
  }
  return [[...names], said];
}"""


def quizzes_are_answered(page: Any) -> None:
    names = []
    for place, quiz in enumerate(page.locator("fieldset.quiz").all()):
        verdict, buttons = quiz.get_by_role("status"), quiz.get_by_role("radio").all()
        assert verdict.get_attribute("aria-live") == "polite"
        assert not verdict.inner_text()
        assert not quiz.locator("details").is_visible(), "the explanations are said one by one"
        reasons = [" ".join(text.split()) for text in quiz.locator(".quiz-why").all_text_contents()]
        rights = quiz.locator(".quiz-reason").evaluate_all("all => all.map((one) => one.classList.contains('right'))")
        assert rights.count(True) == 1
        said = [f"{'Right.' if right else 'Not right.'} {why}" for right, why in zip(rights, reasons, strict=True)]
        if not place:
            quiz_is_answered_by_hand(verdict, buttons, said)
        own, heard = quiz.evaluate(ANSWER)
        assert [" ".join(text.split()) for text in heard] == said
        names += own
        assert len(names) == len(set(names)) == place + 1


def quiz_is_answered_by_hand(verdict: Any, buttons: list[Any], said: list[str]) -> None:
    buttons[0].focus()
    buttons[0].press("Space")
    for place, button in enumerate(buttons):  # one stop for all answers, and arrows between them
        if place:
            buttons[place - 1].press("ArrowDown")
        assert button.is_checked()
        assert " ".join(verdict.text_content().split()) == said[place]
    for button, words in zip(buttons, said, strict=True):
        button.locator("..").click()
        assert " ".join(verdict.text_content().split()) == words


def hints_and_outputs_unfold(page: Any) -> None:
    firsts = page.evaluate("""() => {
      const kinds = new Map();  // not a quiz's, which its answers have replaced, nor one in another that is folded
      [...document.querySelectorAll("article summary")].forEach((summary, place) => {
        const kind = summary.parentElement.className;
        if (summary.checkVisibility() && !kinds.has(kind)) kinds.set(kind, place);
      });
      return [...kinds.values()];
    }""")
    assert firsts
    for summary in map(page.locator("article summary").nth, firsts):
        details = summary.locator("..")
        before = details.evaluate("element => element.open")
        summary.focus()
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.keyboard.press("Enter")
        assert details.evaluate("element => element.open") is not before
    hints = page.locator(".card.exercise").first.locator("details")
    assert hints.count() == 4
    page.locator(".card.exercise summary").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.card.exercise :is(summary, a)')"), "the next in the card"


def figures_are_in_the_pages_own_ink_and_say_what_they_show(page: Any) -> None:
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    figures = page.locator("article svg.figure")
    for figure in figures.all():
        assert len((figure.get_attribute("aria-label") or "").split()) >= 5
        ink = figure.evaluate("figure => getComputedStyle(figure).color")
        assert int(re.findall(r"\d+", ink)[0]) > 127
    assert page.locator("article .cell_output img[src$='.svg']").count() == 0


def test_the_pages_are_whole_without_scripts(browser: Any, output: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    page = context.new_page()
    page.goto((output / CHAPTERS[0]).as_uri())
    quiz = page.locator("fieldset.quiz").first
    quiz.get_by_text("Every answer explained").click()
    assert quiz.locator(".quiz-why").first.is_visible()
    page.get_by_text("Hint 1 of 3").first.click()
    assert page.locator(".card.exercise details[open]").count() == 1
    context.close()


@pytest.mark.parametrize("name", [name for name in PAGES if "/0" in name])
def test_a_chapter_can_be_had_as_a_notebook(output: Path, name: str) -> None:
    import nbformat

    text = (output / name).read_text(encoding="utf-8")
    (target,) = re.findall(r'href="([^"]+)"[^>]*>(?:<span[^>]*>)?Download as a notebook<', text)
    nbformat.validate(nbformat.read((output / name).parent / unquote(target), as_version=4))
    assert "Open in Colab" not in text, "the repository has no address yet"


def test_the_search_finds_positional(page: Any, base: str) -> None:
    page.goto(f"{base}search.html?q=positional")
    found = page.locator("#search-results a[href*='02_tokens']").first
    found.wait_for(timeout=15_000)
    page.wait_for_load_state("networkidle")  # over http it fetches a few words of each page found
    found.click()
    assert "02_tokens.html" in page.url
    assert page.complaints == []
    assert outside(page, base) == []


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("layer normalisation", "04_encoder.html#layer-normalisation"),
        ("label smoothing", "05_vit.html#label-smoothing"),
        ("many heads", "03_attention.html#many-heads"),
        ("residual stream", "glossary.html"),
    ],
)
def test_the_search_finds_the_section_of_that_name_first(page: Any, output: Path, words: str, place: str) -> None:
    page.goto(f"{output.as_uri()}/search.html?q={words.replace(' ', '+')}")
    first = page.locator("#search-results li a").first
    first.wait_for(timeout=15_000)
    assert place in first.get_attribute("href")


def test_the_search_starts_from_the_keyboard(page: Any, base: str) -> None:
    page.goto(base + CHAPTERS[1])
    page.evaluate(FORMULAS)
    page.keyboard.press("Control+k")
    page.keyboard.type("positional")
    page.keyboard.press("Enter")
    page.locator("#search-results a[href*='02_tokens']").first.wait_for(timeout=15_000)
    assert page.complaints == []


def test_a_fault_in_the_article_would_be_found(open_at: Callable[..., Any], output: Path) -> None:
    """Where the page was looked at before, too."""
    page = open_at((output / CHAPTERS[0]).as_uri(), reduced_motion="reduce")
    page.evaluate("""document.querySelector("article").insertAdjacentHTML("beforeend", `
      <style>html[data-theme=dark] :is(.dim, legend) { color: #333; background: #222; }</style>
      <img src="data:,"><input>
      <p style="color: #999; background: #fff">pale</p><pre>${'<span class="n dim">dim</span> '.repeat(2)}</pre>`)""")
    found = [fault.split(":")[0] for fault in faults(page)]
    assert sorted(found) == ["dark color-contrast"] * 3 + ["light color-contrast", "light image-alt", "light label"]


def test_no_vendored_copy_is_in_the_repository() -> None:
    ours = {path.name: path.stat().st_size for path in (root() / "book" / "assets").iterdir()}
    assert ours.keys() == {"book.css", "book.js", "card.png", "icon.svg", "progress.js", "traces.js"}
    assert all(size < 20_000 for name, size in ours.items() if name != "card.png")


def test_the_site_names_no_other_host_in_what_a_browser_loads(output: Path) -> None:
    """The watched requests say what was loaded; this says that nothing waits for a click."""
    loads = re.compile(
        r"""<(?:script|img|iframe|link rel="(?:stylesheet|preload|icon)")[^>]*\s(?:src|href)="(?:https?:)?//"""
    )
    for page in output.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_what_is_folded_on_the_screen_can_be_read_on_paper(open_at: Callable[..., Any], output: Path) -> None:
    page = open_at((output / "book" / "03_attention.html").as_uri())
    page.emulate_media(media="print")
    shown = page.evaluate("""() => {
        window.dispatchEvent(new Event("beforeprint"));
        const parts = document.querySelectorAll("article details.hide > :not(summary)");
        return [...parts].map((part) => getComputedStyle(part).opacity);
    }""")
    assert shown
    assert set(shown) == {"1"}


def test_the_pdf_has_bookmarks_and_formulas(tmp_path: Path, browser: Any, output: Path) -> None:
    import pypdfium2

    file = tmp_path / "book.pdf"
    command = [sys.executable, "-m", "vitcourse", "book", "--pdf", str(file)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.endswith(f"{file}\n")
    pdf = pypdfium2.PdfDocument(file)
    assert pdf.get_metadata_value("Title") == "Learn the Vision Transformer by writing one"
    bookmarks = [" ".join(entry.get_title().split()) for entry in pdf.get_toc()]
    for chapter in chapters():
        assert any(chapter.title.lower() in bookmark.lower() for bookmark in bookmarks), chapter.title
    assert not [bookmark for bookmark in bookmarks if bookmark.endswith("#") or bookmark == "Contents"]
    text = "\n".join(page.get_textpage().get_text_bounded() for page in pdf)
    assert r"\frac" not in text
    for asked in exercises():
        assert f"Exercise {asked.id}" in text
    assert json.dumps(bookmarks).count("Solutions to chapter") == len(chapters())


# What lives on the pages, and how they look; the explorables themselves are tested in test_living.py.


def test_the_page_that_opens_the_book_answers_what_is_drawn(page: Any, base: str) -> None:
    page.goto(f"{base}book/index.html")
    pad = page.locator(".river .pad")
    for digit in "306":  # as its hand writes them; it was trained on other hands
        pad.press(digit)
        page.locator(".river-answer .best .river-name", has_text=digit).wait_for(timeout=15_000)
    assert outside(page, base) == []
    assert page.complaints == []


def test_a_chapter_that_was_read_has_a_mark_and_can_lose_it(page: Any, http: str) -> None:
    page.goto(http + CHAPTERS[1])
    link = page.locator(".bd-sidebar-primary nav a.reference.current")
    page.locator(".read-again").scroll_into_view_if_needed()
    mark = link.locator(".read-mark")
    mark.wait_for()
    assert mark.get_attribute("aria-label") == "read"
    page.goto(f"{http}book/index.html")
    assert page.locator(f"article table a[href$='{CHAPTERS[1].rpartition('/')[2]}'] .read-mark").count() == 1
    page.goto(f"{http}book/symbols.html")  # whose links lead to places in chapters
    assert page.locator("article .read-mark").count() == 0
    page.goto(http + CHAPTERS[1])
    page.locator(".read-again").click()
    assert not mark.is_visible()


def test_a_page_says_what_it_is_to_who_links_to_it(output: Path) -> None:
    from PIL import Image

    for name in PAGES:
        text = (output / name).read_text(encoding="utf-8")
        for what in ('name="description"', 'property="og:title"', 'property="og:description"', 'property="og:image"'):
            (found,) = re.findall(f'<meta {what} content="([^"]+)"', text)
            assert len(found) > 4, (name, what)
            assert not found.startswith("Download"), (name, what)
        assert (output / name).parent.joinpath(found).resolve() == output / "_static" / "card.png"
    assert Image.open(output / "_static" / "card.png").size == (1200, 630)
