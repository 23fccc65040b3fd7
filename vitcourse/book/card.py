"""The picture that stands beside a link to the book: the seven on its way through the model, 1200 × 630 pixels."""

import io
from typing import Any

from vitcourse.book.style import BLACK, BLUE, INK, VERMILION

SIZE, DPI = (12, 6.3), 100
GREY = "#5a606a"


def draw(seven: list[float], flows: list[Any], shares: list[float]) -> bytes:
    """As PNG. `flows` are (L, T, T), `shares` the probabilities of the ten digits."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1200), ylim=(630, 0))
    axes.set_axis_off()
    axes.text(64, 108, "Learn the Vision Transformer", fontsize=34, fontweight="bold", color=INK)
    axes.text(64, 164, "by writing one", fontsize=34, fontweight="bold", color=INK)
    words = "vitcourse · from pixels to a trained model, each step checked as you write it"
    axes.text(64, 582, words, fontsize=17, color=GREY)
    image = np.array(seven).reshape(8, 8)
    for n in range(16):
        row, column = divmod(n, 4)
        patch = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        _show(axes, patch, 64 + 58 * column, 270 + 58 * row, 51)
        _show(axes, patch, 380, 216 + 19 * (n + 1), 15)
    xs, ys = 430 + 170 * np.arange(len(flows) + 1), 224 + 19 * np.arange(17)
    for y in ys:
        axes.plot([xs[0], xs[-1]], [y, y], color="#e3e5e8", linewidth=0.8, zorder=0)
    for place, layer in enumerate(flows):
        for (t, s), flow in np.ndenumerate(layer):
            _flow(axes, (xs[place], ys[s]), (xs[place + 1], ys[t]), VERMILION, min(1, 1.6 * flow**0.6), 1 + 14 * flow)
    for digit, share in enumerate(shares):
        below = 224 + 34 * digit
        _flow(axes, (xs[-1], ys[0]), (1090, below), BLUE, 0.2 + 0.8 * share, 0.8 + 7 * share)
        best = share == max(shares)
        axes.text(1110, below, str(digit), va="center", fontsize=30 if best else 15, color=VERMILION if best else BLACK,
                  fontweight="bold" if best else "normal")  # fmt: skip
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _show(axes: Any, patch: Any, x: float, y: float, side: float) -> None:
    axes.imshow(patch, cmap="gray_r", vmin=-0.06, vmax=1.1, extent=(x, x + side, y + side, y), interpolation="nearest")
    axes.set(xlim=(0, 1200), ylim=(630, 0), aspect="auto")


def _flow(axes: Any, start: Any, end: Any, colour: str, strong: float, width: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if strong < 0.05:
        return
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    path = Path([(x0, y0), (middle, y0), (middle, y1), (x1, y1)], [Path.MOVETO, *[Path.CURVE4] * 3])
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, alpha=strong, linewidth=width, capstyle="round"))
