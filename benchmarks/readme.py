"""What the README shows: its picture, drawn from a model that is trained for it, and its figures, read from results/.

And the same river as the card that stands beside a link to the book, 1200 × 630 pixels, as Chromium draws it.
In the course's folder, type: python benchmarks/readme.py
"""

import argparse
from pathlib import Path
from statistics import mean

from vitcourse.book import results

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / ".github" / "readme.svg"
CARD = ROOT / "book" / "assets" / "card.png"
# GitHub shows the picture on its own paper, light or dark; what the reader's system prefers decides.
LOOK = """\
text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.small { font-size: 11px; fill: var(--muted) } .head { font-size: 14px; font-weight: 650 }
.cls { font-size: 11px; font-weight: 650; fill: var(--cls) } text.cls { text-anchor: end }
.best { font-size: 22px; font-weight: 700; fill: var(--look) }
.plate { fill: var(--plate) } .ink { fill: var(--ink) }
.look, .clsline, .faint { fill: none; stroke-linecap: round }
.look { stroke: var(--look) } .clsline { stroke: var(--cls) } .faint { stroke: var(--line) }
:root { --ink: #1d2126; --muted: #5c6068; --line: #dcdee2; --plate: #f1f2f4; --look: #d55e00; --cls: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ece8e1; --muted: #a3a7ad; --line: #3a404a; --plate: #232933; --look: #ff9248; --cls: #62b6ee }
}"""
# What stands above the picture's parts: where, what it is, and the chapters in which it is written.
HEADS = (
    (90, "an image, in patches", "chapter 1"),
    (236, "tokens", "chapter 2"),
    (450, "attention, in three blocks", "chapters 3 and 4"),
    (702, "the answer", "chapter 5"),
)
TITLE = """\
<body style="margin: 36px 64px; background: white; color: #222832; font: 22px system-ui, sans-serif">
<b style="font-size: 42px">Learn the Vision Transformer by writing one</b>
<div style="margin: 12px 0 12px 120px; width: 800px">{}</div>
vitcourse · from pixels to a trained model, each step checked as you write it"""


def picture() -> str:
    """The seven on its way through a trained model, with the chapters in which one writes each part."""
    from vitcourse.book import stills
    from vitcourse.book.living_model import make

    drawn = stills.river(make(), lambda exercise: "")
    heads = "".join(
        f'<text x="{x}" y="-44" class="head" text-anchor="middle">{what}</text>'
        f'<text x="{x}" y="-26" class="small" text-anchor="middle">{chapter}</text>'
        for x, what, chapter in HEADS
    )
    opening = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -64 780 448"'
    _, _, rest = drawn.partition('viewBox="0 0 760 376"')
    words, _, body = rest.partition(">")
    return f"{opening}{words}><style>\n{LOOK}\n</style>{heads}{body}\n"


def card(drawn: str) -> bytes:
    """The picture under a title, as PNG: other places show no SVG."""
    from vitcourse.book.browser import launch

    with launch() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 630}, color_scheme="light")
        page.set_content(TITLE.format(drawn))
        return page.screenshot()


def accuracy() -> str:
    """What the presets reach, as the README says it."""
    digits, mnist = _preset("digits"), _preset("mnist")
    on_cpu = f"`train` reaches {digits} on the digits, `train mnist` {mnist} on MNIST"
    tried = results("recipes")
    tested = [r["accuracy"] for r in tried["kinds"]["accuracy"]["runs"] if r["measured_on"] == "test images"]
    card = tried["provenance"]["machine"]["gpu"]
    return f"{on_cpu}, `train mnist-gpu` {mean(tested):.2%} (mean of {len(tested)} seeds, on an {card})"


def _preset(name: str) -> str:
    found = results(name)
    seconds = [round(run["cpu_seconds"]) for run in found["runs"]]
    took = f"{' to '.join(map(str, sorted({min(seconds), max(seconds)})))} CPU seconds each"
    return f"{found['mean_accuracy']:.2%} (mean of {len(seconds)} seeds, {took})"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    drawn = picture()
    PICTURE.write_text(drawn, encoding="utf-8", newline="\n")
    CARD.write_bytes(card(drawn))
    print(PICTURE.relative_to(ROOT), CARD.relative_to(ROOT))
    print(accuracy())
