"""How a run shows its progress: a live bar on a terminal, one plain line per epoch anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vitcourse.training.runs import Epoch

# Reading the loss waits for the device: often enough to look alive, too rarely to cost anything.
SECONDS_BETWEEN_LOOKS = 0.25


class Display:
    """One bar over all epochs, with the latest figures beside it; where nobody looks on, one line per epoch."""

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        self.console, self.epochs = console, epochs
        self.live = console.is_terminal and console.file.isatty() and not console.is_dumb_terminal
        self.accuracy = "accuracy -"
        self.looked = 0.0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
        )
        self.task = self.progress.add_task(f"epoch 1/{epochs}", total=steps, figures="")

    def __enter__(self) -> Self:
        if self.live:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.progress.stop()

    def due(self) -> bool:
        """Whether it is time to read the loss and show it."""
        return self.live and time.perf_counter() - self.looked > SECONDS_BETWEEN_LOOKS

    def show(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Show where the run is in the middle of an epoch."""
        self.looked = time.perf_counter()
        self.progress.update(
            self.task,
            completed=step,
            description=f"epoch {epoch}/{self.epochs}",
            figures=f"loss {loss:.3f}  {self.accuracy}  {images_per_second:,.0f} images/s",
        )

    def finished(self, epoch: Epoch, step: int) -> None:
        """Show the figures of an epoch that is done."""
        self.accuracy = f"accuracy {epoch.accuracy:.1%}"
        self.show(epoch.epoch, step, epoch.loss, epoch.images_per_second)
        if not self.live:
            number = f"{epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}"
            self.console.print(
                f"epoch {number}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
                f"{epoch.images_per_second:,.0f} images/s  {epoch.seconds:.1f} s"
            )
