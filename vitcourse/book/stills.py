"""The static pictures of the explorables, as SVG: what the model computes on the running image, drawn by hand."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from vitcourse.book.architecture import Address, draw

Told = dict[str, Any]
SIDE, PATCH = 8, 2  # of the seven


def river(told: Told, address: Address) -> str:
    """The seven, its patches, how attention mixes them layer by layer, and the answer."""
    flows = told["seen"]["flows"]  # (L, T, T)
    made = [_image(told["page"]["seven"], 0, 100, 180, gap=0.14)]
    xs, pitch = [300 + 100 * n for n in range(len(flows) + 1)], 22
    for t in range(17):
        y = pitch * (t + 0.5)
        made.append(_tile(told["page"]["seven"], t - 1, 236, y - 9, 18) if t else _text(232, y + 4, "CLS", "cls"))
        made.append(f'<path d="M262,{y} H{xs[-1]}" class="faint"/>')
    for (x0, x1), rows in zip(pairwise(xs), flows, strict=True):
        for t, row in enumerate(rows):
            for s, flow in enumerate(row):
                strong = min(1.0, 1.6 * flow**0.6)
                if strong > 0.06:
                    y0, y1, half = pitch * (s + 0.5), pitch * (t + 0.5), (x0 + x1) / 2
                    path = f"M{x0},{y0} C{half},{y0} {half},{y1} {x1},{y1}"
                    made.append(_line(path, "look", strong, 0.8 + 11 * flow))
    for name, share in zip(told["page"]["classes"], told["seen"]["shares"], strict=True):
        k, y0 = int(name), pitch / 2
        y1 = 374 * (k + 0.5) / 10
        path = f"M{xs[-1]},{y0} C{xs[-1] + 40},{y0} {xs[-1] + 40},{y1} {xs[-1] + 80},{y1}"
        made.append(_line(path, "clsline", 0.2 + 0.8 * share, 0.8 + 5 * share))
        made.append(_text(xs[-1] + 90, y1 + 5, name, "best" if share > 0.5 else ""))
        made.append(_text(xs[-1] + 116, y1 + 5, f"{100 * share:.0f}%", "small"))
    words = "A handwritten seven in sixteen patches; lines from patch to patch through three layers; the answer 7."
    return _svg(760, 376, words, "".join(made))


def patches(told: Told, address: Address) -> str:
    """The photograph, cut into 14 × 14 patches, and the sequence of them."""
    side, cell = 300, 300 / 14
    lines = "".join(f"M{n * cell:.2f},0 v{side} M0,{n * cell:.2f} h{side} " for n in range(1, 14))
    made = [
        f'<defs><image id="still-photograph" href="{told["page"]["photograph"]}" width="224" height="224"/></defs>',
        f'<svg width="{side}" height="{side}" viewBox="0 0 224 224"><use href="#still-photograph"/></svg>',
        f'<path d="{lines}" class="paper"/>',
    ]
    pitch = 24
    for n in range(196):
        x, y = 336 + pitch * (n % 16), pitch * (n // 16)
        view = f"{16 * (n % 14)} {16 * (n // 14)} 16 16"
        made.append(
            f'<svg x="{x}" y="{y}" width="21" height="21" viewBox="{view}"><use href="#still-photograph"/></svg>'
        )
    return _svg(
        720, 312, "A photograph cut into 14 by 14 patches, and the patches in a row, line after line.", "".join(made)
    )


def positions(told: Told, address: Address) -> str:
    """How one place of a grid agrees with all others, in one dimension and in two."""
    made = []
    for place, (name, values) in enumerate(told["seen"]["positions"].items()):
        x, least = 240 * place, min(values)
        made.append(_text(x, 12, f"{name} positions", "strong", "start"))
        for n, value in enumerate(values):
            near = ((value - least) / (1 - least)) ** 1.3
            made.append(_square(x + 28 * (n % 7), 24 + 28 * (n // 7), 26, "glow", near))
        made.append(_square(x + 57, 24 + 57, 24, "chosen"))
    words = "Two grids of 7 by 7: how alike one place's position is to all others, for 1-d and for 2-d positions."
    return _svg(720, 224, words, "".join(made))


def attention(told: Told, address: Address) -> str:
    """Where CLS looks in every head."""
    made = []
    for layer, heads in enumerate(told["seen"]["weights"]):
        made.append(_text(0, 108 * layer + 50, f"layer {layer + 1}", "strong", "start"))
        for head, rows in enumerate(heads):
            x, y = 80 + 112 * head, 108 * layer
            for n, share in enumerate(rows[0][1:]):
                made.append(_square(x + 24 * (n % 4), y + 24 * (n // 4), 23.5, "glow", share**0.425))
            made.append(f'<g opacity="0.42">{_image(told["page"]["seven"], x, y, 96)}</g>')
    return _svg(720, 316, "The seven, three layers of four heads: where CLS looks in each.", "".join(made))


def model(told: Told, address: Address) -> str:
    """The architecture."""
    return draw(told["page"]["seven"], set(), address)


KINDS: dict[str, Callable[[Told, Address], str]] = {
    made.__name__: made for made in (river, patches, positions, attention, model)
}


def _image(seven: list[float], x: float, y: float, width: float, gap: float = 0) -> str:
    """The seven with gaps between its patches, in patches."""
    cells = SIDE // PATCH
    patch = width / (cells + gap * (cells - 1))
    step, plate = patch * (1 + gap), "plate" if gap else ""
    return "".join(
        _tile(seven, n, x + step * (n % cells), y + step * (n // cells), patch, plate) for n in range(cells * cells)
    )


def _tile(seven: list[float], n: int, x: float, y: float, width: float, plate: str = "plate") -> str:
    """One of the seven's patches."""
    (top, left), step = (PATCH * place for place in divmod(n, SIDE // PATCH)), width / PATCH
    made = _square(x, y, width, plate) if plate else ""
    for row, column in ((row, column) for row in range(PATCH) for column in range(PATCH)):
        if value := seven[SIDE * (top + row) + left + column]:
            made += _square(x + step * column, y + step * row, step, "ink", value)
    return made


def _square(x: float, y: float, side: float, kind: str, opacity: float = 1) -> str:
    at = f'x="{x:.2f}" y="{y:.2f}" width="{side:.2f}" height="{side:.2f}"'
    return f'<rect {at} class="{kind}" fill-opacity="{opacity:.2f}"/>'


def _line(path: str, kind: str, opacity: float, width: float) -> str:
    return f'<path d="{path}" class="{kind}" opacity="{opacity:.2f}" stroke-width="{width:.2f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{text}</text>'


def _svg(width: int, height: int, words: str, body: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{words}">{body}</svg>'
