"""The training images as batches: all of them one tensor on the device, gathered by index, no worker processes.

Beside it stands what most code does instead, for comparison.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import default_collate

from vitcourse.training.augment import augmentations, center_crop
from vitcourse.training.presets import TrainConfig
from vitcourse.training.processes import ALONE, Processes

# Images at once where nothing is kept for a backward pass.
EVALUATION_BATCH = 500


def standardised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images less the mean of each channel, divided by its standard deviation."""
    return (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)


class Batches:
    """Batches of images and labels, in a new random order at every pass; the last one may be smaller.

    A pass that was broken off goes on where it stopped, in another process too: `state_dict` tells where that is.

    Of several processes each takes its share of every batch; `n_local` and `n_global` count the images of the latest
    batch, its own share and all. Order and augmentation are drawn for the whole batch and so don't depend on the number
    of processes. Where a batch has fewer images than there are processes, some get one that counts for nothing.

    With hardest below 1 the first pass goes over all images, and each later one in rounds over that share of them which
    had the largest loss when seen last, as `note` was told; up to as many batches as a pass has.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        config: TrainConfig,
        processes: Processes = ALONE,
    ) -> None:
        self.images, self.labels, self.mean, self.std = images, labels, mean, std
        self.batch_size, self.crop, self.hardest = config.batch_size, config.crop, config.hardest
        self.augmentations = augmentations(config)
        self.processes = processes
        # The order is drawn on the CPU, so that it is the same whatever the device.
        self.order_generator = torch.Generator().manual_seed(config.seed)
        self.generator = torch.Generator(images.device).manual_seed(config.seed)
        self.taken = self.begun = 0
        self.order_state = self.order_generator.get_state()
        self.n_local = self.n_global = 0
        self.latest = self.chosen = torch.arange(len(images))
        self.losses = torch.full(images.shape[:1], math.inf, device=images.device)

    def __len__(self) -> int:
        """How many batches a pass has."""
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left of a pass over all images."""
        return map(self.made, self.indices())

    def indices(self) -> Iterator[Tensor]:
        """The same as numbers of images, on the device; `made` makes the batch."""
        for indices in self._rounds():
            for index in indices:
                self.taken += 1
                self.n_local = self.n_global = len(index)
                yield index

    def made(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these images."""
        self.latest = index
        return self._shared(self._changed(self.images[index]), self.labels[index])

    @torch.no_grad()
    def note(self, logits: Tensor) -> None:
        """Keep the loss of each image of the latest batch, which the model gave these logits. (B, K)."""
        labels = self.labels[self.latest]
        self.losses[self.latest] = cross_entropy(logits.float().to(labels.device), labels, reduction="none")

    def _rounds(self) -> Iterator[Sequence[Tensor]]:
        """What is left of a pass: one round over all images, or several, each over those that are hardest by then."""
        while self.taken < len(self):
            self.order_generator.set_state(self.order_state)
            order = self.chosen[torch.randperm(len(self.chosen), generator=self.order_generator)]
            # The whole order at once: a copy in each step would be one more launch.
            batches = torch.split(order.to(self.images.device), self.batch_size)
            yield batches[self.taken - self.begun : len(self) - self.begun]
            self.begun, self.order_state = self.taken, self.order_generator.get_state()
            if self.hardest < 1 and self.losses.isfinite().all():
                # Whole batches, so that the compiler meets no other size.
                n_chosen = self.batch_size * max(1, round(self.hardest * len(self.images) / self.batch_size))
                self.chosen = self.losses.topk(min(n_chosen, len(self.images))).indices.cpu()
        self.taken = self.begun = 0

    def _changed(self, images: Tensor) -> Tensor:
        for augment in self.augmentations:
            images = augment(images, self.generator)
        # Cut last: what a shift brings in is then the image's own margin. An augmentation may have cut already.
        return standardised(center_crop(images, self.crop), self.mean, self.std)

    def _shared(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        share = self.processes.share(len(images))
        self.n_global, self.n_local = len(images), share.stop - share.start
        if not self.n_local:
            share = slice(0, 1)
        return images[share], labels[share]

    def state_dict(self) -> dict[str, Any]:
        """Where in the pass it is, the state of both sources of chance, and what decides who is hard."""
        state = {"taken": self.taken, "order": self.order_state, "augmentation": self.generator.get_state()}
        if self.hardest < 1:
            state |= {"losses": self.losses, "chosen": self.chosen, "begun": self.begun}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on where that state was taken; False where its augmentations must be drawn anew, on another device."""
        self.taken, self.order_state = state["taken"], state["order"]
        if self.hardest < 1:
            self.losses, self.chosen = state["losses"].to(self.losses.device), state["chosen"].cpu()
            self.begun = state["begun"]
        try:
            self.generator.set_state(state["augmentation"])
        except RuntimeError:
            self.generator.manual_seed(self.generator.initial_seed() + 1)  # not those of the first epoch again
            return False
        return True


class LoadedBatches(Batches):
    """The same batches as most code makes them: image by image on the CPU, as a DataLoader does, then on the device.

    The images are in memory already; what it costs is one call for each image in place of one for each batch.
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor, *more: Any) -> None:
        super().__init__(images.cpu(), labels.cpu(), mean.cpu(), std.cpu(), *more)
        self.device = images.device

    def made(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these images."""
        self.latest = index
        examples = [(self._changed(self.images[place : place + 1])[0], self.labels[place]) for place in index.tolist()]
        images, labels = default_collate(examples)
        return self._shared(images.to(self.device), labels.to(self.device))
