"""What is measured of a model beside its accuracy: the loss on the test images, its answers, who is taken for whom."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitcourse.training.batches import EVALUATION_BATCH
from vitcourse.training.preparation import Setup


@contextmanager
def outputs_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """What the model returns within this context, call by call."""
    seen: list[Tensor] = []
    hook = model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    try:
        yield seen
    finally:
        hook.remove()


def accuracy_and_loss(setup: Setup, model: nn.Module, exactly: bool = True) -> tuple[float, float | None]:
    """What the chapter's evaluate says of a model, and the loss of what that saw."""
    with outputs_of(model) as outputs:
        accuracy = setup.accuracy(model, exactly)
    return accuracy, measured_loss(setup, outputs, accuracy)


def measured_loss(setup: Setup, outputs: Sequence[Tensor], accuracy: float) -> float | None:
    """The loss on the test images of the outputs from which the chapter's evaluate found that accuracy.

    None when these aren't the logits of the test images, one after the other: a learner's evaluate may go its own way.
    """
    labels = setup.test_labels
    try:
        logits = torch.cat([output.float() for output in outputs])
        right = logits.argmax(dim=-1) == labels
    except (RuntimeError, ValueError, IndexError, AttributeError):
        return None
    if abs(float(right.sum()) / len(labels) - accuracy) > 1e-6:
        return None
    logits = logits.softmax(dim=-1) if setup.config.loss == "original" else logits
    return float(cross_entropy(logits, labels))


@dataclass(frozen=True)
class Answers:
    """A model's answers to all test images: what each is taken for, and how sure it is. On the CPU."""

    given: Tensor  # (n')
    confidence: Tensor  # (n')
    labels: Tensor  # (n')

    def worst_first(self) -> Tensor:
        """The images in the order in which to look at them: the surest mistakes, then the least sure right answers."""
        wrong = self.given != self.labels
        return torch.where(wrong, -1 - self.confidence, self.confidence).argsort(stable=True)

    def confusion(self, n_classes: int) -> Tensor:
        """How many images of each class (row) are taken for each (column): (K, K)."""
        return torch.bincount(self.labels * n_classes + self.given, minlength=n_classes**2).view(n_classes, n_classes)


@torch.no_grad()
def answers(setup: Setup, model: nn.Module) -> Answers:
    """What a model says of all test images of the data set."""
    model.eval()
    batches = torch.split(setup.test_images, EVALUATION_BATCH)
    probabilities = torch.cat([model(images).float().softmax(dim=-1).cpu() for images in batches])
    confidence, given = probabilities.max(dim=-1)
    return Answers(given, confidence, setup.dataset.test_labels)


def as_csv(confusion: Tensor, classes: Sequence[str]) -> str:
    """The table with a row for each class, and in it how often its images are taken for each."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["is, below; taken for, right", *classes])
    table.writerows([name, *row] for name, row in zip(classes, confusion.tolist(), strict=True))
    return text.getvalue()
