"""The running example of the book: one handwritten seven, the same in every chapter."""

from typing import TYPE_CHECKING

from vitcourse.data import load_dataset

if TYPE_CHECKING:
    from torch import Tensor


def seven() -> "Tensor":
    """The seven, (1, 1, 8, 8), in [0, 1]: the first one of the digits' test images, so no model has trained on it."""
    digits = load_dataset("digits")
    position = int((digits.test_labels == 7).nonzero()[0])
    return digits.test_images[position : position + 1].clone()
