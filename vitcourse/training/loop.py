"""The loop: step after step over the batches, with nothing in it that waits for the device."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitcourse.errors import RunError
from vitcourse.training.batches import Batches
from vitcourse.training.display import Display
from vitcourse.training.interrupt import StopOnInterrupt
from vitcourse.training.optim import average_weights, make_optimizer, set_learning_rate
from vitcourse.training.original import behind_softmax
from vitcourse.training.preparation import Setup
from vitcourse.training.runs import Epoch

AMP_DTYPES = {"off": None, "bf16": torch.bfloat16}


@dataclass
class Run:
    """A model in training: `trained` goes into train_step, `kept` is what is measured and saved."""

    setup: Setup
    trained: nn.Module
    kept: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    steps_done: int = 0

    @classmethod
    def start(cls, setup: Setup) -> "Run":
        """A run before its first step."""
        config = setup.config
        model = setup.make_model()
        optimizer = make_optimizer(model, config)
        kept = average_weights(model, optimizer, config.ema) if config.ema else model
        trained = behind_softmax(model) if config.loss == "original" else model
        return cls(setup, trained, kept, optimizer, setup.batches())

    @property
    def steps(self) -> int:
        """How many steps the whole run has."""
        return len(self.batches) * self.setup.config.epochs

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step of the chapter's train_step at the schedule's learning rate; the loss, on the device."""
        config, chapter = self.setup.config, self.setup.chapter
        set_learning_rate(self.optimizer, config, self.steps_done, self.steps, chapter.warmup_cosine)
        loss: Tensor = chapter.train_step(
            self.trained, images, labels, self.optimizer, amp_dtype=AMP_DTYPES[config.amp]
        )
        self.steps_done += 1
        return loss

    def epoch(self, number: int, display: Display, stop: StopOnInterrupt) -> Epoch | None:
        """One pass over the images, then a measure; None when Ctrl-C cut it short.

        Raises RunError when the loss is no longer a finite number.
        """
        started = time.perf_counter()
        loss_sum = torch.zeros((), device=self.setup.device)
        seen = 0
        for images, labels in self.batches:
            loss_sum += self.step(images, labels).detach() * len(labels)
            seen += len(labels)
            if display.due():
                speed = seen / (time.perf_counter() - started)
                display.show(number, self.steps_done, _finite(loss_sum / seen, number), speed)
            if stop.requested and seen < len(self.setup.train_images):
                return None
        loss = _finite(loss_sum / seen, number)
        seconds = time.perf_counter() - started
        epoch = Epoch(
            epoch=number,
            loss=loss,
            accuracy=self.setup.accuracy(self.kept),
            learning_rate=self.optimizer.param_groups[-1]["lr"],
            seconds=round(seconds, 3),
            images_per_second=round(seen / seconds, 1),
        )
        display.finished(epoch, self.steps_done)
        return epoch


def _finite(loss: Tensor, epoch: int) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise RunError(f"the loss became {value} in epoch {epoch}; type a smaller --learning-rate, or --clip 1")
    return value
