"""Ctrl-C as a wish to stop at the next step, so that nothing is cut off in the middle."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class StopOnInterrupt:
    """Within this context the first Ctrl-C sets `requested`; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        # Python lets only the main thread catch signals, and a job in the background goes on ignoring them.
        self._before = signal.getsignal(signal.SIGINT)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._catches = in_main_thread and self._before not in (None, signal.SIG_IGN)
        if self._catches:
            signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._catches:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._before)
