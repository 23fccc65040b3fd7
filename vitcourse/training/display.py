"""How a run shows its progress: a live bar on a terminal, one plain line per epoch anywhere else."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vitcourse.training.runs import Epoch

# Reading the loss waits for the device: often enough to look alive, too rarely to cost anything.
SECONDS_BETWEEN_LOOKS = 0.25


class Display(Progress):
    """One bar over all epochs, with the latest figures beside it; where nobody looks on, one line per epoch."""

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
            disable=not (console.is_terminal and console.file.isatty()) or console.is_dumb_terminal,
        )
        self.epochs, self.accuracy, self.looked = epochs, "accuracy -", 0.0
        self.bar = self.add_task(f"epoch 1/{epochs}", total=steps, figures="")

    def due(self) -> bool:
        """Whether it is time to read the loss and show it."""
        return not self.disable and time.perf_counter() - self.looked > SECONDS_BETWEEN_LOOKS

    def show(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Show where the run is in the middle of an epoch."""
        self.looked = time.perf_counter()
        self.update(
            self.bar,
            completed=step,
            description=f"epoch {epoch}/{self.epochs}",
            figures=f"loss {loss:.3f}  {self.accuracy}  {images_per_second:,.0f} images/s",
        )

    def done(self, epoch: Epoch, step: int) -> None:
        """Show the figures of an epoch that is done."""
        self.accuracy = f"accuracy {epoch.accuracy:.1%}"
        self.show(epoch.epoch, step, epoch.loss, epoch.images_per_second)
        if self.disable:
            number = f"{epoch.epoch:>{len(str(self.epochs))}}/{self.epochs}"
            self.console.print(
                f"epoch {number}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
                f"{epoch.images_per_second:,.0f} images/s  {epoch.seconds:.1f} s"
            )
