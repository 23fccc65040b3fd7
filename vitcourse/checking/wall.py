"""Here the wall stands: what a learner's code does to its process reaches the judge as answers, or as an end.

The answers come over a pipe, limited in size and time; what isn't one of ours is refused.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitcourse.worker.protocol import File

_PRINTED = 2_000  # characters of what an answer prints that are shown


class WorkerEnded(Exception):
    """The process that ran a learner's code ended by itself; how says how, in words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class WorkerLate(Exception):
    """A learner's code took more than its time."""


class WorkerBroke(Exception):
    """What came back is no answer of ours: a learner's code wrote into the pipe, say."""


class Worker:
    """One exercise's process, and what ends it. All that is asked of it takes from one budget of time."""

    def __init__(
        self,
        end: Callable[[float], str],
        read: "File",
        write: "File",
        printed: IO[bytes],
        seconds: float,
        first: Mapping[str, Any],
    ) -> None:
        self._end, self._read, self._write, self._file = end, read, write, printed
        self._left = seconds
        self._open = True
        try:
            self.seen: dict[str, Any] = self._exchange(dict(first))
        except BaseException:
            self.close()
            raise

    def load(self) -> dict[str, Any]:
        """Have the chapter run; what went wrong, if anything. This comes first, once."""
        fault = self._exchange(None)
        kinds = {"type": str, "kinds": list, "message": str, "name": str, "frames": list}
        if not isinstance(fault, dict) or (fault and {key: type(value) for key, value in fault.items()} != kinds):
            raise WorkerBroke("a fault without its parts")
        return fault

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The observation of a request. Raises WorkerEnded, WorkerLate or WorkerBroke."""
        from vitcourse.worker.workshop import Observation

        answer = self._exchange(dict(request))
        if not isinstance(answer, dict) or set(answer) != {field.name for field in fields(Observation)}:
            raise WorkerBroke("an answer without its parts")
        blank = Observation()
        for name, value in answer.items():
            if name != "result" and type(value) is not type(getattr(blank, name)):
                raise WorkerBroke("an answer with other parts")
        return Observation(**answer)

    def printed(self) -> str:
        """The last of what the code printed."""
        self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, self._file.tell() - 4 * _PRINTED))
        return self._file.read(4 * _PRINTED).decode("utf-8", "replace")[-_PRINTED:]

    def close(self, grace: float = 0.0) -> str:
        """End it, and all that it started; how it had ended, if it had."""
        if not self._open:
            return ""
        self._open = False
        how = self._end(grace)
        for file in {self._read, self._write}:
            file.close() if isinstance(file, socket.socket) else os.close(file)
        return how

    def _exchange(self, value: dict[str, Any] | None) -> Any:
        """Send a message, unless it is None, and read one."""
        from vitcourse.worker.protocol import Gone, ProtocolError, TooLate, receive, send

        since = time.monotonic()
        try:
            if value is not None:
                send(self._write, value, since + self._left)
            return receive(self._read, since + self._left)
        except TooLate:
            raise WorkerLate from None
        except ProtocolError as error:
            raise WorkerBroke(str(error)) from None
        except Gone:
            raise WorkerEnded(self.close(grace=0.5)) from None
        finally:
            self._left -= time.monotonic() - since
