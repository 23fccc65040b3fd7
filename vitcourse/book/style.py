"""How the book's pictures look: colours that stay apart for every kind of colour vision, lines that scale.

style.use()
figure, axes = plt.subplots()
style.show_image(axes, seven())
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Okabe and Ito's palette, in an order in which neighbours differ most; yellow, too pale for a line, is left out.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
# The same as letters on white: those are thin. On a page each has the page's own kind of its colour, as lines have.
LETTERS: dict[Any, str] = dict(
    zip(COLOURS, ("#0072B2", "#B84F00", "#007A59", "#8A6000", "#A1476F", "#1A71A6", "#000000"), strict=True)
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# The letters and axes of a figure (style.mplstyle): on a page they take the page's own ink. What is drawn black stays
# black on a plate.
INK = "#222832"

SEQUENTIAL = "cividis"  # values that are never negative
DIVERGING = "PuOr"  # signed values, with zero in the middle: give it vmin = -vmax
GREY = "gray"  # images

NEAR = 0.85  # a line that ends further right than this share of the axes has its name at their edge


def use() -> None:
    """Set the look for every figure of this notebook."""
    import matplotlib.pyplot as plt
    from cycler import cycler

    plt.style.use(Path(__file__).with_name("style.mplstyle"))
    plt.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
    _as_svg()


def show_image(axes: Axes, image: Any, **options: Any) -> AxesImage:
    """Draw an image, (H, W), (1, H, W), (3, H, W) or a batch of one, in [0, 1], without ticks or frame."""
    import numpy as np

    pixels = np.asarray(image.detach() if hasattr(image, "detach") else image)
    while pixels.ndim > 2 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)  # (H, W, C)
    axes.set_axis_off()
    return axes.imshow(pixels, **{"cmap": GREY, "vmin": 0, "vmax": 1, **options})


def show_matrix(axes: Axes, matrix: Any, *, signed: bool = False, **options: Any) -> AxesImage:
    """Draw a matrix as a heat map; signed, its colours have zero at their middle.

    End a cell's last line with a semicolon, or Jupyter prints what this returns.
    """
    import numpy as np

    values = np.asarray(matrix.detach() if hasattr(matrix, "detach") else matrix)
    if signed:
        limit = float(abs(values).max()) or 1.0
        options = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit, **options}
    return axes.imshow(values, **{"cmap": SEQUENTIAL, "aspect": "auto", **options})


def patch_lines(axes: Axes, height: int, width: int, patch_size: int, **options: Any) -> None:
    """Draw the borders of the patches over an image of height × width pixels."""
    options = {"color": ORANGE, "linewidth": 2, **options}
    for row in range(0, height + 1, patch_size):
        axes.plot([-0.5, width - 0.5], [row - 0.5, row - 0.5], clip_on=False, **options)
    for column in range(0, width + 1, patch_size):
        axes.plot([column - 0.5, column - 0.5], [-0.5, height - 0.5], clip_on=False, **options)


def name_lines(axes: Axes) -> None:
    """Write each line's label at its right end, in its colour, in place of a legend; none upon another.

    Call it when all is drawn and the limits are set.
    """
    import matplotlib as mpl
    import numpy as np

    axes.get_xlim(), axes.get_ylim()  # which sets them, where nobody has yet
    ends = []
    for line in axes.get_lines():
        points = np.asarray(line.get_xydata(), float)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) and not str(line.get_label()).startswith("_"):
            x, y = axes.transAxes.inverted().transform(axes.transData.transform(points[-1]))
            ends.append((min(max(float(y), 0), 1), 1.0 if x > NEAR else float(x), line))
    apart = 1.3 * mpl.rcParams["font.size"] / (axes.get_window_extent().height * 72 / axes.figure.dpi)
    below = -1.0
    for height, right, line in sorted(ends, key=lambda end: end[0]):
        below = max(height, below + apart)
        axes.annotate(
            str(line.get_label()),
            (right, below),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=LETTERS.get(line.get_color(), line.get_color()),
            annotation_clip=False,
        )


def _as_svg() -> None:
    """Let Jupyter show figures as SVG, where this is Jupyter."""
    try:
        from IPython.core.getipython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg")
