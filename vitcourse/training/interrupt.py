"""Ctrl-C, or a scheduler's SIGTERM, as a wish to stop at the next step, so that nothing is cut off in the middle."""

import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 2


class StopOnInterrupt:
    """Within this context the first Ctrl-C or SIGTERM sets `requested`, and the third does what it usually does.

    The second changes nothing: who presses twice, or has a launcher that passes on what came already, loses nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._asked = 0
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
        for number, before in self._before.items():
            signal.signal(number, before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._asked += 1
        if self._asked > PATIENCE:
            self.__exit__()
            signal.raise_signal(number)
