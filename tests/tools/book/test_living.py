"""The explorables of the book's pages: they compute what PyTorch computes, and everybody can use them.

On a page that the test makes of the parts, in a headless Chromium; without one these tests are skipped.
"""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from pages import NARROW, WIDE, faults, frames, outside, with_parts
from playwright.sync_api import expect
from torch import Tensor
from untrained import computed, make_trained

from solutions.ch01_patches import patchify
from solutions.ch02_tokens import resize_positions, sinusoidal_positions, sinusoidal_positions_2d
from solutions.ch06_inside import attention_rollout
from vitcourse.book import architecture, living, living_model, stills
from vitcourse.book.cells import seven
from vitcourse.course import exercises
from vitcourse.data import load_dataset
from vitcourse.training.trained import Trained

# The theme's own colours, of which the explorables take the paper.
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Explorables</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
html {{ --pst-color-background: #fff; color: #222832; background: #fff; font: 16px system-ui; }}
html[data-theme=dark] {{ --pst-color-background: #121212; color: #ced6dd; background: #121212; }}
article {{ max-width: 688px; margin: 0 auto; }} {style}</style></head>
<body><main><h1>Explorables</h1><article class="bd-article">{places}</article></main>
<script>{model}</script><script>{script}</script></body></html>"""


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A grid of 4 × 4 patches; every weight counts."""
    made = make_trained(load_dataset("digits"), {"patch_size": 2, "d_model": 24, "n_heads": 3, "n_layers": 2})
    positions = made.model.get_submodule("positional_encoding")
    positions.positions = torch.randn(1, 17, 24, generator=torch.Generator().manual_seed(0))
    return made


@pytest.fixture(scope="module")
def told(trained: Trained) -> dict[str, Any]:
    return living_model.tell(trained)


@pytest.fixture
def open_page(open_page: Callable[..., Any], told: dict[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """Opens a page of explorables."""

    def open_it(*kinds: str, theme: str = "light", before: str = "", **options: Any) -> Any:
        model, script, style = living.files(told).values()
        places = "\n".join(f"{living.opened(kind, told, '#{}'.format)}</div>" for kind in kinds)
        text = PAGE.format(theme=theme, style=style, places=places, model=model + before, script=script)
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        page = open_page((tmp_path / "page.html").as_uri(), **options)
        if options.get("java_script_enabled", True):
            frames(page)
        return page

    return open_it


def state(page: Any, kind: str, what: str) -> Any:
    frames(page)
    return page.evaluate(f"(({{ living: state }}) => {what})(document.querySelector('.living.{kind} .live'))")


def image_of(page: Any, kind: str) -> Tensor:
    return torch.tensor(state(page, kind, "[...state.image]")).reshape(1, 1, 8, 8)


def near(ours: Any, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(torch.tensor(ours).flatten(), expected.flatten(), atol=tolerance, rtol=1e-4)


# Every kind


@pytest.mark.parametrize(
    ("theme", "viewport"),
    [
        pytest.param("light", NARROW, id="light"),
        pytest.param("dark", WIDE, id="dark", marks=pytest.mark.thorough),
    ],
)
def test_every_explorable_is_for_everybody_and_asks_nobody(
    open_page: Callable[..., Any], theme: str, viewport: dict[str, int]
) -> None:
    page = open_page(*stills.KINDS, theme=theme, viewport=viewport)
    page.wait_for_function("document.querySelector('.patches .numbers').textContent")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert outside(page, page.url) == []
    assert page.complaints == []
    for kind in stills.KINDS:
        shown = page.locator(f".living.{kind} .still").is_visible()
        assert shown is (kind == "model"), "the picture makes room, unless it is the map itself"


@pytest.mark.thorough
def test_on_paper_and_without_scripts_there_is_a_picture(open_page: Callable[..., Any]) -> None:
    page = open_page(*stills.KINDS)
    page.emulate_media(media="print")
    without = open_page(*stills.KINDS, java_script_enabled=False)
    for kind in stills.KINDS:
        assert page.locator(f".living.{kind} .still").is_visible()
        assert not page.locator(f".living.{kind} .live").is_visible()
        assert without.locator(f".living.{kind} .still svg").first.is_visible()


def test_a_script_that_fails_leaves_the_picture(open_page: Callable[..., Any]) -> None:
    page = open_page("river", "attention", before="window.vitcourse.classes = null;")
    assert page.complaints
    assert page.locator(".river .still").is_visible()
    assert page.locator(".river .live").count() == 0


# River


def test_the_river_says_what_pytorch_says_of_what_is_drawn(open_page: Callable[..., Any], trained: Trained) -> None:
    page = open_page("river")
    page.locator(".river .pad").press("3")
    image = image_of(page, "river")
    assert image.sum() > 2
    logits, weights, _ = computed(trained, image)
    near(state(page, "river", "[...state.result.logits]"), logits)
    reach = attention_rollout(weights)[0]
    near(state(page, "river", "[...state.flow.rows[0]]"), reach[0])
    best = page.locator(".river-answer .best .river-name").inner_text()
    assert best == trained.classes[int(logits.argmax())]
    expect(page.locator(".river .live > [role=status]")).to_contain_text(f"The model says {best}")
    page.locator(".river-token").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    near(state(page, "river", "[...state.flow.rows[0]]"), reach[2])
    assert "row 0, column 1" in page.locator(".river-told").inner_text()
    page.locator(".river .pad").press("Delete")
    assert not state(page, "river", "state.image.some(Boolean)")
    assert page.locator(".river-answer .best").count() == 0


# Patches


@pytest.fixture(scope="module")
def js(browser: Any) -> Iterator[Any]:
    """A page in which the parts' functions are at hand."""
    names = "tokensOf, runsOf, waves, sinusoidal, sinusoidal2d, resized, likeness"
    with browser.new_page() as page:
        yield with_parts(page, names, "patches", "positions")


def test_tokens_are_cut_as_in_chapter_1_or_only_reshaped(js: Any) -> None:
    images = torch.rand(1, 3, 6, 10, generator=torch.Generator().manual_seed(0))
    picture = {"C": 3, "H": 6, "W": 10, "P": 2, "gh": 3, "gw": 5}
    tokens = "([picture, values, r]) => [...tokensOf({ ...picture, values: Float32Array.from(values) }, r)]"
    flat = images.flatten().tolist()
    near(js.evaluate(tokens, [picture, flat, False]), patchify(images, 2))
    near(js.evaluate(tokens, [picture, flat, True]), images.reshape(1, 15, 12))
    covered = [run for n in range(15) for run in js.evaluate("([p, n]) => runsOf(p, n)", [picture, n])]
    assert sorted((c, y, x) for c, y, start, end in covered for x in range(start, end)) == [
        (c, y, x) for c in range(3) for y in range(6) for x in range(10)
    ]
    kernels = torch.tensor(js.evaluate("waves(5).map((kernel) => [...kernel])"))
    near((kernels @ kernels.T).tolist(), torch.eye(8))
    assert len(js.evaluate("waves(1)")) == 1


@pytest.mark.thorough
def test_patches_by_keyboard(open_page: Callable[..., Any], trained: Trained) -> None:
    page = open_page("patches")
    facts = page.locator(".patches .facts-row dd")
    expect(facts).to_have_text(["14 × 14", "196", "197", "38,809"])
    page.get_by_role("slider", name="P", exact=True).press("ArrowRight")
    expect(facts).to_have_text(["8 × 8", "64", "65", "4,225"])
    page.get_by_role("radio", name="The seven").check()
    page.get_by_role("slider", name="P", exact=True).press("Home")
    expect(facts).to_have_text(["8 × 8", "64", "65", "4,225"])
    page.get_by_role("slider", name="P", exact=True).press("ArrowRight")
    token = page.get_by_role("slider", name="The token that is looked at")
    token.press("Home")
    token.press("ArrowDown")
    token.press("ArrowRight")
    expect(token).to_have_attribute("aria-valuetext", re.compile("patch 5: row 1, column 1"))
    patch = patchify(seven(), 2)[0, 5]
    products = [float(text.replace("−", "-")) for text in page.locator(".kernels .value").all_inner_texts()]
    kernels = rearrange(trained.model.get_parameter("patch_embedding.projection.weight"), "D C y x -> D (C y x)")
    near(products, (kernels[:8] @ patch).detach(), 6e-3)
    page.get_by_role("radio", name="Reshape instead").check()
    expect(token).to_have_attribute("aria-valuetext", re.compile(r"token 5: a piece of row 2"))


# Positions


def test_tables_of_positions_are_those_of_chapter_2(js: Any) -> None:
    near(js.evaluate("[...sinusoidal(7, 10)]"), sinusoidal_positions(7, 10))
    near(js.evaluate("[...sinusoidal2d(3, 5, 8)]"), sinusoidal_positions_2d((3, 5), 8))
    table = torch.randn(1, 7, 11, generator=torch.Generator().manual_seed(0))
    for grid in ((5, 7), (13, 2), (2, 3)):
        ours = js.evaluate(
            "([t, to]) => [...resized(Float32Array.from(t), 11, [2, 3], to)]", [table[0, 1:].flatten().tolist(), grid]
        )
        near(ours, resize_positions(table, (2, 3), grid)[0, 1:])
    row = js.evaluate("[...likeness(sinusoidal(5, 6), 6, 2)]")
    positions = sinusoidal_positions(5, 6)
    near(row, F.cosine_similarity(positions[2:3], positions))


@pytest.mark.thorough
def test_positions_by_keyboard(open_page: Callable[..., Any], trained: Trained) -> None:
    page = open_page("positions")
    place = page.get_by_role("slider", name="The place that is chosen")
    place.press("Home")
    place.press("ArrowRight")
    place.press("ArrowDown")
    expect(place).to_have_attribute("aria-valuetext", re.compile(r"row 4, column 1\. Most like it"))
    page.get_by_role("slider", name="rows").press("Home")
    page.get_by_role("slider", name="columns").press("End")
    page.get_by_role("radio", name="Learned").check()
    assert state(page, "positions", "[state.gh, state.gw]") == [2, 14]
    positions: Any = trained.model.get_submodule("positional_encoding").positions
    near(state(page, "positions", "[...state.table]"), resize_positions(positions, (4, 4), (2, 14))[0, 1:])
    page.get_by_role("radio", name="None").check()
    assert not state(page, "positions", "state.row.some(Boolean)")


# Attention


def test_attention_is_pytorchs_for_what_is_drawn(open_page: Callable[..., Any], trained: Trained) -> None:
    page = open_page("attention")
    page.locator(".attention .pad").press("5")
    _, weights, _ = computed(trained, image_of(page, "attention"))
    near(
        state(page, "attention", "state.result.layers.flatMap((l) => l.heads.flatMap((head) => [...head.weights]))"),
        weights[:, 0],
    )
    page.locator(".attention .token").first.focus()
    page.keyboard.press("ArrowRight")
    head = page.locator(".attention .head").nth(4)  # layer 2, head 1, from 0
    head.focus()
    expect(head).to_have_attribute("aria-pressed", "true")
    share = float(weights[1][0, 1, 1].max())
    words = page.locator(".attention-tokens .told").inner_text()
    assert f"In layer 2, head 1, the patch in row 0, column 0 looks {100 * share:.0f}%" in words


# The map


@pytest.mark.thorough
def test_the_map_shows_the_tensors_of_the_seven(open_page: Callable[..., Any], trained: Trained) -> None:
    page = open_page("model")
    logits, weights, streams = computed(trained, seven())
    near(state(page, "model", "[...state.result.logits]"), logits)
    near(state(page, "model", "state.result.streams.flatMap((x) => [...x])"), streams[:, 0])
    near(
        state(page, "model", "state.result.layers.flatMap((l) => l.heads.flatMap((one) => [...one.weights]))"),
        weights[:, 0],
    )
    for asked in page.locator(".model .choice[aria-label='part of the model'] input").all():
        asked.check()
        frames(page)
        key = asked.get_attribute("value")
        assert page.locator(f'.model .part.lit[data-part="{key}"]').count() == 1
        for tensor in page.locator(".model .tensor").all():
            shape = tensor.locator("code").inner_text()
            told = [int(size) for size in re.findall(r"\d+", shape.partition("=")[2])]
            canvases = tensor.locator("canvas")
            sizes = canvases.first.evaluate("canvas => canvas.width * canvas.height")
            assert sizes * canvases.count() == torch.Size(told).numel(), f"{key}: {shape}"
        linked = page.locator(".model .live a").all_inner_texts()
        assert [text.split()[1].rstrip(":") for text in linked] == [
            made.id for made in architecture.made_by()[key or ""]
        ]
    page.locator('.model .part[data-part="qkv"] rect').click()
    expect(page.locator(".map-title")).to_have_text("q, k, v")
    assert page.url.endswith("page.html"), "a click on the map stays on the page"


# The drawing


class Links(HTMLParser):
    """The addresses of links by the names under which one hears them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and "aria-label" in values:
            self.found.append((values["aria-label"] or "", values["href"] or ""))


def test_every_exercise_is_in_the_drawing_and_linked_where_a_page_has_it() -> None:
    drawing = architecture.draw([0.5] * 64, set(), "there.html#{}".format)
    linked = {(name.partition(":")[0], address) for name, address in Links(drawing).found}
    model = [asked for asked in exercises() if asked.id < "6"]  # later chapters use it, and add no part
    assert linked == {(f"Exercise {asked.id}", f"there.html#{asked.id}") for asked in model}
    assert Links(architecture.draw([0.5] * 64, set(), lambda _: "")).found == []


def test_an_exercise_a_chapter_or_a_name_lights_its_parts() -> None:
    attention = next(asked.id for asked in exercises() if "MultiHeadAttention" in asked.names)
    assert architecture.lit_by([attention]) == {"attention", "out"}
    assert {"qkv", "split", "dot", "merge"} <= architecture.lit_by([attention.partition(".")[0]])
    assert architecture.lit_by(["mlp"]) == {"mlp"}
    with pytest.raises(ValueError, match="9 is no exercise"):
        architecture.lit_by(["9"])
    assert architecture.draw([0.0] * 64, {"mlp"}, lambda _: "").count('class="part lit"') == 1
