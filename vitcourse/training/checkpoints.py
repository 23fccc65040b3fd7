"""A run can be stopped at any time, and goes on as if it never was: by a checkpoint, all that it needs in one file.

The file is a zip archive that torch.save writes: tensors, numbers, words and containers of these. It is loaded without
unpickling anything else, so that a file from elsewhere can't run code.
"""

import io
import signal
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any, Self

import torch

from vitcourse.errors import RequestError
from vitcourse.signals import handling

CHECKPOINT = "checkpoint.pt"
FORMAT = "vitcourse checkpoint, version 1"

# So much of a run may be lost, and so small a share of its time may go into keeping it.
SECONDS_BETWEEN = 30.0
SHARE = 0.05

# So many requests are borne before one ends the run at once.
PATIENCE = 2


class Pace:
    """When a checkpoint is due: after half a minute, or later where it is so large that writing it takes long."""

    def __init__(self, write: Callable[[], None]) -> None:
        self.write = write
        self.next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for one."""
        return time.perf_counter() >= self.next

    def keep(self) -> None:
        """Write one, whether it is time or not."""
        started = time.perf_counter()
        self.write()
        took = time.perf_counter() - started
        self.next = started + took + max(SECONDS_BETWEEN, took / SHARE)


def checkpoint_file(state: dict[str, Any]) -> bytes:
    """The content of a checkpoint's file."""
    content = io.BytesIO()
    torch.save({"format": FORMAT, **state}, content)
    return content.getvalue()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that a checkpoint's file holds, its tensors on the CPU.

    Raises RequestError for a file that is cut off, damaged, or of another origin.
    """
    refusal = f"{path} is not a whole checkpoint of a run; delete it, or type --output with another folder"
    try:
        # torch doesn't look at the checksums that it wrote.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise RequestError(refusal)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise RequestError(refusal) from error
    except OSError as error:
        raise RequestError(f"can't read {path}: {error.strerror or error}") from error
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise RequestError(refusal)
    return state


class StopOnInterrupt:
    """Ctrl-C, or a scheduler's SIGTERM, as a wish to stop at the next step, so that nothing is cut off in the middle.

    Within this context the first Ctrl-C or SIGTERM sets `requested`, and the third does what it usually does. The
    second changes nothing: a launcher may pass on what the run was sent already, and the epoch would be lost.
    """

    def __init__(self) -> None:
        self.requested = False
        self._asked = 0
        self._handled = ExitStack()

    def __enter__(self) -> Self:
        self._handled.enter_context(handling(self._request, "SIGINT", "SIGTERM"))
        return self

    def __exit__(self, *_: object) -> None:
        self._handled.close()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._asked += 1
        if self._asked > PATIENCE:
            self._handled.close()
            signal.raise_signal(number)
