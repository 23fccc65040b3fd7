"""The pictures of a run: its curves, two runs side by side, and images with the model's answers.

Figures are made one by one, without pyplot, and so need no screen and leave no state behind.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from vitcourse.training.original import loss_floor
from vitcourse.training.runs import Epoch

if TYPE_CHECKING:
    from torch import Tensor

    from vitcourse.training.measure import Answers
    from vitcourse.training.trained import Prediction

# Colours that stay apart for every kind of colour vision (Okabe and Ito), with a marker of its own for each line.
STYLES = [
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
]
WRONG = "#B84F00"  # the vermilion of the lines, darker: letters are thin
PATCHES = "#56B4E9"
N_SHOWN = 16


def draw_curves(
    runs: Mapping[str, Sequence[Epoch]], measured_on: str, softmax_over: int | None = None, title: str = ""
) -> Figure:
    """Loss and accuracy over the epochs, one line per run; the loss on the images to measure on is a thin line.

    Where a softmax over so many classes stands in front of the loss, the floor that it sets is drawn too.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    losses, accuracies = figure.subplots(2, 1, sharex=True)
    for style, (name, epochs) in zip(STYLES, runs.items(), strict=False):
        numbers = [epoch.epoch for epoch in epochs]
        name, of_tests = (name, f"{name}, {measured_on}") if len(runs) > 1 else ("training", measured_on)
        losses.plot(numbers, [epoch.loss for epoch in epochs], label=name, markersize=4, **style)
        accuracies.plot(numbers, [epoch.accuracy for epoch in epochs], label=name, markersize=4, **style)
        tested = [epoch.test_loss for epoch in epochs]
        if tested and None not in tested:
            thin = {**style, "linewidth": 1, "alpha": 0.7, "markersize": 4, "markerfacecolor": "white"}
            losses.plot(numbers, tested, label=of_tests, **thin)
    losses.set_ylabel("loss")
    accuracies.set_ylabel(f"accuracy, {measured_on}")
    accuracies.set_xlabel("epoch")
    accuracies.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracies.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # Whole epochs, also where there is one: left alone, the axis would go from 0.96 to 1.04.
    accuracies.set_xlim(0.5, 0.5 + max([len(epochs) for epochs in runs.values()] + [1]))
    if softmax_over is not None:
        _draw_floor(losses, softmax_over)
    for axes in (losses, accuracies):
        axes.grid(alpha=0.3)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend()
    losses.set_title(title if any(runs.values()) else "no epoch was finished")
    return figure


def _draw_floor(axes: Axes, n_classes: int) -> None:
    floor = loss_floor(n_classes)
    axes.axhline(floor, color="black", linestyle=":", linewidth=1.5)
    axes.annotate(
        f"no lower with the softmax in front: ln(1 + {n_classes - 1}/e) = {floor:.4f}",
        xy=(0.02, floor),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4),
        textcoords="offset points",
        verticalalignment="top",
    )
    axes.set_ylim(bottom=0)


def draw_predictions(images: "Tensor", answers: "Answers", classes: Sequence[str]) -> Figure:
    """Of images (n, C, H, W) in [0, 1] those to look at first, and what each is taken for.

    A wrong answer has a cross, the truth, and a dashed frame.
    """
    shown = answers.worst_first()[:N_SHOWN].tolist()
    rows = -(-len(shown) // 4)
    figure = Figure(figsize=(7, 1.95 * rows), layout="constrained")
    grid = figure.subplots(rows, 4, squeeze=False).flatten()
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes, index in zip(grid, shown, strict=False):
        _draw_image(axes, images[index].numpy())
        said, truth = (classes[int(which[index])] for which in (answers.given, answers.labels))
        title = f"{said}  ({answers.confidence[index]:.0%})"
        if said == truth:
            axes.set_title(title, fontsize=9)
            continue
        axes.set_title(f"✗ {title}, is {truth}", fontsize=9, color=WRONG)
        for spine in axes.spines.values():
            spine.set(color=WRONG, linewidth=3, linestyle="--")
    return figure


def draw_seen(predictions: Sequence[tuple[str, "Prediction"]], patch_size: int) -> Figure:
    """Pictures as the model sees them, cut into its patches, and beside each its three best classes as bars."""
    figure = Figure(figsize=(6, 2.4 * len(predictions)), layout="constrained")
    rows = figure.subplots(len(predictions), 2, squeeze=False)
    for (image, bars), (name, prediction) in zip(rows, predictions, strict=True):
        pixels = prediction.seen.pixels.numpy()
        _draw_image(image, pixels)
        _, height, width = pixels.shape
        image.hlines(np.arange(patch_size, height, patch_size) - 0.5, -0.5, width - 0.5, color=PATCHES, linewidth=1)
        image.vlines(np.arange(patch_size, width, patch_size) - 0.5, -0.5, height - 0.5, color=PATCHES, linewidth=1)
        image.set_title(Path(name).name, fontsize=9, parse_math=False)
        labels, shares = zip(*prediction.best(), strict=True)
        drawn = bars.barh(range(len(labels)), shares, color=STYLES[0]["color"], tick_label=labels)
        bars.bar_label(drawn, [f"{share:.1%}" for share in shares], padding=4)
        bars.set_xlim(0, 1.4)
        bars.invert_yaxis()
        bars.xaxis.set_major_formatter(PercentFormatter(1.0))
        bars.set_xticks([0, 0.5, 1])
    return figure


def _draw_image(axes: Axes, pixels: NDArray[np.float32]) -> None:
    image = np.moveaxis(pixels, 0, -1)  # (H, W, C)
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
