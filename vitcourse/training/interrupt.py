"""Ctrl-C, or a scheduler's SIGTERM, as a wish to stop at the next step, so that nothing is cut off in the middle."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnInterrupt:
    """Within this context the first Ctrl-C or SIGTERM sets `requested`; a second one does what it usually does.

    While it is held, the second one waits until that is over; the third doesn't.
    """

    def __init__(self) -> None:
        self.requested = False
        self._holding = False
        self._waiting: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread catch signals, and a job in the background goes on ignoring them.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done within is done to its end, unless it is asked for three times."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._waiting is not None:
            self._restore()
            signal.raise_signal(self._waiting)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested = True
        elif self._holding and self._waiting is None:
            self._waiting = number
        else:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
