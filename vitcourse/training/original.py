"""The original project's bug: a softmax in front of a loss that applies a softmax itself.

The original's text shows neither its optimiser nor this line; both are inferred from its numbers. Its losses end above
the floor below, and a loss on plain logits would not.
"""

import math
from collections.abc import Mapping

from rich.table import Column, Table
from torch import nn

from vitcourse.training.presets import TrainConfig
from vitcourse.training.runs import Result


def with_loss_of(config: TrainConfig, model: nn.Module) -> nn.Module:
    """What goes into train_step for the loss that is configured: the original's takes probabilities for logits."""
    return nn.Sequential(model, nn.Softmax(dim=-1)) if config.loss == "original" else model


def loss_floor(n_classes: int) -> float:
    """The least that cross-entropy can be when its logits are probabilities: ln(1 + (K - 1)/e).

    At best the right class has probability 1 and the K - 1 others have 0: -ln(e / (e + (K - 1))).
    """
    return math.log(1 + (n_classes - 1) / math.e)


def side_by_side(results: Mapping[str, Result]) -> Table:
    """Loss and accuracy of several runs, epoch by epoch."""
    heads = ["epoch", *(f"{name}: {figure}" for name in results for figure in ("loss", "accuracy"))]
    table = Table(*(Column(head, justify="right") for head in heads))
    for row in zip(*(result.epochs for result in results.values()), strict=False):
        figures = (figure for epoch in row for figure in (f"{epoch.loss:.4f}", f"{epoch.accuracy:.2%}"))
        table.add_row(str(row[0].epoch), *figures)
    return table
