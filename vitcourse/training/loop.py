"""The loop: step after step over the batches, with nothing in it that waits for the device."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.training.batches import Batches
from vitcourse.training.checkpoints import Pace, StopOnInterrupt
from vitcourse.training.display import Display
from vitcourse.training.graph import RecordedStep
from vitcourse.training.measure import accuracy_and_loss
from vitcourse.training.optim import average_weights, load_optimizer, make_optimizer, rate_factor, set_learning_rate
from vitcourse.training.original import with_loss_of
from vitcourse.training.preparation import Setup
from vitcourse.training.runs import DivergedError, Epoch
from vitcourse.training.steps import take_step, wrapped

# Several processes ask one another so rarely whether to stop: each time they wait for the slowest.
STEPS_BETWEEN_QUESTIONS = 20


@dataclass
class Run:
    """A model in training: `trained` goes into train_step, `kept` is saved, and `measured` computes the same as that.

    `twin` is what is trained before it is compiled or shared, and `how` says in words how it differs from the model.

    `loss_sum`, `seen` and `seconds` tell of the epoch under way: its loss, summed over the images seen, and its time.
    `epochs` are those that are done; `before` is what was spent before the run was taken up, `since` when that was.
    """

    setup: Setup
    model: nn.Module
    twin: nn.Module
    trained: nn.Module
    averaged: nn.Module | None
    measured: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    how: str = ""
    recorded: RecordedStep | None = None
    steps_done: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    seen: int = 0
    seconds: float = 0.0
    epochs: list[Epoch] = field(default_factory=list)
    before: tuple[float, float] = (0.0, 0.0)
    since: tuple[float, float] = field(default_factory=lambda: _clocks())

    @classmethod
    def start(cls, setup: Setup) -> "Run":
        """A run before its first step."""
        config = setup.config
        model = setup.make_model()
        twin, how = setup.twin_of(model)
        optimizer = make_optimizer(model, config, setup.transfer)
        averaged = average_weights(model, optimizer, config.ema) if config.ema else None
        measured = setup.twin_of(averaged)[0] if averaged is not None else twin
        batches = setup.batches()
        trained = wrapped(with_loss_of(config, twin), setup, batches)
        if config.hardest < 1:
            trained.register_forward_hook(lambda model, _, logits: batches.note(logits) if model.training else None)
        if not setup.processes.is_first:
            # The weights are the same everywhere; what dropout draws is each process's own.
            torch.manual_seed(config.seed + setup.processes.rank)
        loss_sum = torch.zeros((), device=setup.device)
        run = cls(setup, model, twin, trained, averaged, measured, optimizer, batches, how, loss_sum=loss_sum)
        if setup.records:
            example = torch.empty(min(config.batch_size, len(batches.images)), dtype=torch.long, device=setup.device)
            run.recorded = RecordedStep(lambda index: run._train(*batches.made(index)), example, [batches.generator])
        return run

    @property
    def kept(self) -> nn.Module:
        """The model that is saved."""
        return self.averaged if self.averaged is not None else self.model

    @property
    def steps(self) -> int:
        """How many steps the whole run has."""
        return len(self.batches) * self.setup.config.epochs

    @property
    def spent(self) -> tuple[float, float]:
        """Seconds of this process's processor time and on the clock, over all the times that the run was taken up."""
        cpu, wall = (b + now - s for b, now, s in zip(self.before, _clocks(), self.since, strict=True))
        return cpu, wall

    def losses(self) -> Iterator[Tensor]:
        """What is left of a pass over the images, a step each; its loss, on the device."""
        for index in self.batches.indices():
            if self.recorded is not None and len(index) == len(self.recorded.index):
                self._set_rate()
                yield self._counted(self.recorded(index))
            else:
                yield self.step(*self.batches.made(index))

    def endless(self) -> Iterator[Tensor]:
        """Pass after pass."""
        while True:
            yield from self.losses()

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step at the schedule's learning rate; the loss, on the device."""
        self._set_rate()
        return self._counted(self._train(images, labels))

    def _set_rate(self) -> None:
        set_learning_rate(self.optimizer, self._factor(self.steps_done))

    def _factor(self, step: int) -> float:
        return rate_factor(self.setup.config, step, self.steps, self.setup.chapter.warmup_cosine)

    def _train(self, images: Tensor, labels: Tensor) -> Tensor:
        return take_step(self.setup, self.trained, images, labels, self.optimizer)

    def _counted(self, loss: Tensor) -> Tensor:
        self.steps_done += 1
        if self.setup.config.sync:
            loss.item()
        return loss

    def epoch(self, number: int, display: Display, stop: StopOnInterrupt, pace: Pace) -> bool:
        """One pass over the images, or what is left of it; False when it was asked to stop before the end.

        Raises DivergedError when the loss is no longer a finite number.
        """
        processes = self.setup.processes
        started = time.perf_counter()
        before = self.seconds
        for loss in self.losses():
            self.loss_sum.add_(loss.detach(), alpha=self.batches.n_local)
            self.seen += self.batches.n_local
            self.seconds = before + time.perf_counter() - started
            if display.due():
                speed = self.batches.taken * self.batches.batch_size / self.seconds
                display.show(number, self.steps_done, _finite(self.loss_sum / self.seen, number), speed)
            asked = processes.world_size == 1 or self.batches.taken % STEPS_BETWEEN_QUESTIONS == 0
            if self.batches.taken == len(self.batches) or not asked:
                continue
            stopping, due = processes.any_of(stop.requested, pace.due)
            if stopping:
                return False
            if due:
                pace.keep()
        return True

    def end_epoch(self, number: int) -> Epoch:
        """The figures of a pass that is complete, its model measured.

        Raises DivergedError when the loss is no longer a finite number.
        """
        started = time.perf_counter()
        n_images = len(self.setup.train_images)
        loss = _finite(self.setup.processes.sum(self.loss_sum) / n_images, number)
        # The loss is there when the device has done its last step.
        self.seconds += time.perf_counter() - started
        exactly = number == self.setup.config.epochs
        model = self.kept if exactly else self.measured
        accuracy, test_loss = accuracy_and_loss(self.setup, model, exactly)
        epoch = Epoch(
            epoch=number,
            loss=loss,
            accuracy=accuracy,
            test_loss=test_loss,
            learning_rate=float(self.setup.config.learning_rate * self._factor(self.steps_done - 1)),
            seconds=round(self.seconds, 3),
            images_per_second=round(n_images / self.seconds, 1),
        )
        self.epochs.append(epoch)
        self.loss_sum = torch.zeros_like(self.loss_sum)
        self.seen, self.seconds = 0, 0.0
        return epoch

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the run goes on: the same in each of several processes."""
        processes = self.setup.processes
        return {
            "steps_done": self.steps_done,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "loss_sum": processes.sum(self.loss_sum.clone()),
            "seen": int(processes.sum(torch.tensor(self.seen))),
            "seconds": self.seconds,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "spent": self.spent,
            # Dropout draws from the process's own generator.
            "rng_states": processes.gathered(_rng_states(self.setup.device)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[str]:
        """Go on where that state was taken; which draws can't be gone on with on this kind of device."""
        self.steps_done = state["steps_done"]
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        load_optimizer(self.optimizer, state["optimizer"])
        anew = [] if self.batches.load_state_dict(state["batches"]) else ["augmentations"]
        self.seconds, self.before = state["seconds"], state["spent"]
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        processes = self.setup.processes
        if processes.is_first:
            # One takes all that has been counted; what counts in the end is the sum.
            self.loss_sum, self.seen = state["loss_sum"].to(self.setup.device), state["seen"]
        if processes.rank < len(state["rng_states"]) and not _set_rng_states(
            state["rng_states"][processes.rank], self.setup.device
        ):
            anew.append("dropout")
        return anew


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _rng_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def _set_rng_states(states: dict[str, Tensor], device: torch.device) -> bool:
    """Take up the states; False when that of this kind of device is missing, which then draws anew."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if device.type in states.keys() - {"cpu"}:
        torch.get_device_module(device).set_rng_state(states[device.type], device)
    return device.type in states


def _finite(loss: Tensor, epoch: int) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise DivergedError(f"the loss became {value} in epoch {epoch}; type a smaller --learning-rate, or --clip 1")
    return value
