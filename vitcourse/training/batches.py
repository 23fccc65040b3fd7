"""The training images as batches: all of them one tensor on the device, gathered by index, no worker processes."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vitcourse.training.augment import Augmentation, center_crop


def standardised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images less the mean of each channel, divided by its standard deviation."""
    return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


class Batches:
    """Batches of images and labels, in a new random order at every pass; the last one may be smaller."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        batch_size: int,
        augmentations: Sequence[Augmentation] = (),
        seed: int = 0,
        crop: int | None = None,
    ) -> None:
        self.images, self.labels = images, labels
        self.mean, self.std = mean, std
        self.batch_size = batch_size
        self.augmentations = augmentations
        self.crop = crop
        # The order is drawn on the CPU, so that it is the same whatever the device.
        self.order_generator = torch.Generator().manual_seed(seed)
        self.generator = torch.Generator(images.device).manual_seed(seed)

    def __len__(self) -> int:
        """How many batches a pass has."""
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over all images."""
        order = torch.randperm(len(self.images), generator=self.order_generator).to(self.images.device)
        for index in torch.split(order, self.batch_size):
            images = self.images[index]  # (B, C, H, W)
            for augment in self.augmentations:
                images = augment(images, self.generator)
            # Cut last: what a shift brings in is then the image's own margin.
            yield standardised(center_crop(images, self.crop), self.mean, self.std), self.labels[index]
