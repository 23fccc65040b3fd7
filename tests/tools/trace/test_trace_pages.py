"""The table for pages and the picture: what they say, and to whom."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
import torch

from solutions.ch05_vit import VisionTransformer
from vitcourse.trace import flow_svg, trace

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"col", "br", "meta"}


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all are closed in their order."""

    def __init__(self):
        super().__init__()
        self.tags, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def traced():
    return trace(VisionTransformer((28, 42), 7, 3, 10, 16, 3, 2), torch.rand(1, 3, 28, 42))


def tags_of(page: str) -> list:
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    return parser.tags


def test_the_table_is_one_for_those_who_hear_it(traced):
    tags = tags_of(traced._repr_html_())
    names = [tag for tag, _ in tags]
    assert names.count("table") == names.count("caption") > 1
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")
    assert names.count("details") == names.count("summary") > 1
    assert "script" not in names
    assert not any(key.startswith("on") for _, attributes in tags for key in attributes)


def test_the_table_has_the_colours_of_its_page(traced):
    assert not re.search(
        r"#[0-9a-f]{3,6}\b|rgba?\(|(?<![\w-])(black|white)(?![\w-])", traced.to_html().split("</style>")[0]
    )


def test_the_levels_are_open_down_to_the_depth_of_the_trace(traced):
    assert " open>" not in traced.at(1).to_html()
    assert traced.at(2).to_html().count("<details open>") == 4


def test_the_table_escapes_the_code():
    html = trace(lambda x: (x < 1) & (x > 0), torch.rand(2), names="B").to_html()
    assert "x &lt; 1" in html
    tags_of(html)


def test_an_error_is_in_the_table_too():
    html = trace(lambda x: x @ x, torch.rand(2, 3), names="B D").to_html()
    assert "x @ x" in html
    assert "(B=2, D=3)" in html


def test_the_picture_has_every_step_with_its_shape(traced):
    picture = ElementTree.fromstring(flow_svg(traced))
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    for text in ("images", "(B=1, C=3, H=28, W=42)", "self.projection(images)", "(B=1, D=16, gh=4, gw=6)"):
        assert text in texts
    assert "block(x)  × 3 layers" in texts
    assert len(list(picture.iter(f"{SVG}rect"))) == 1 + (1 + 3) + (1 + 2) + 1 + (1 + 7) + 3


def test_the_picture_tells_what_it_shows(traced):
    picture = ElementTree.fromstring(flow_svg(traced))
    assert picture.get("role") == "img"
    ids = {element.get("id"): element.text for element in picture if element.tag in (f"{SVG}title", f"{SVG}desc")}
    assert set(picture.get("aria-labelledby").split()) == set(ids)
    assert "VisionTransformer" in " ".join(ids.values())
    assert "self.head(cls) gives (B=1, K=10)" in " ".join(ids.values())


def test_the_residual_connections_are_in_the_picture_and_come_from_the_trace(traced):
    def arcs(picture: str) -> int:
        return sum(" Q" in path.get("d") for path in ElementTree.fromstring(picture).iter(f"{SVG}path"))

    assert arcs(flow_svg(traced)) == 2
    model = VisionTransformer((28, 42), 7, 3, 10, 16, 1, 2)
    model.blocks[0] = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GELU())
    assert arcs(flow_svg(trace(model, torch.rand(1, 3, 28, 42)))) == 0


class Joined(torch.nn.Module):
    """What comes in is used once more after a step that doesn't use it."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 7)
        self.token = torch.nn.Parameter(torch.zeros(1, 7))

    def forward(self, x):
        x = self.fc(x)
        token = self.token.expand(2, -1)
        return torch.cat([token, x])


def test_an_arc_begins_where_something_ends():
    picture = ElementTree.fromstring(flow_svg(trace(Joined(), torch.rand(3, 5))))
    boxes = [[float(box.get(key)) for key in ("x", "y", "width", "height")] for box in picture.iter(f"{SVG}rect")]
    paths = [path.get("d") for path in picture.iter(f"{SVG}path") if "arrow" in (path.get("class") or "")]
    edges = [(x + width / 2, y + height) for x, y, width, height in boxes]
    (arc,) = [path for path in paths if " Q" in path]
    assert tuple(map(float, re.findall(r"[\d.]+", arc)[:2])) in edges


def test_the_picture_fits_its_frame(traced):
    picture = ElementTree.fromstring(flow_svg(traced))
    _, _, width, height = map(float, picture.get("viewBox").split())
    for box in picture.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y + h <= height


@pytest.mark.parametrize("turns", [300, 10**9])
def test_code_that_calls_itself_is_shown_as_deep_as_it_goes(turns):
    def again(x, n):
        return x if n == 0 else again(x + 1, n - 1)

    traced = trace(again, torch.rand(2), turns, names={"x": "B"})
    assert isinstance(traced.error, RecursionError) == (turns > 300)
    assert "x + 1" in traced.to_text()
    assert traced.to_html().count("<table") <= 101
