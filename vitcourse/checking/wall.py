"""Here the wall stands: what a learner's code does to its process reaches the judge as answers, or as an end.

The answers come over a socket, limited in size and time; what isn't one of ours is refused.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import IO, Any, Literal

_PRINTED = 2_000  # characters of what an answer prints that are shown
_LOOK = 0.1  # seconds after which one that waits for an answer looks up


class WorkerLost(Exception):
    """A learner's code ended its process, took more than its time, or sent what is no answer: a verdict by itself."""

    def __init__(self, status: Literal["error", "timeout"], headline: str) -> None:
        super().__init__(headline)
        self.status, self.headline = status, headline


class Overtaken(KeyboardInterrupt):
    """As Ctrl-C, of a check whose verdict nobody waits for any more: what it is about was saved anew."""


class Worker:
    """One exercise's process, and what ends it. All that is asked of it takes from one budget of time.

    Whoever waits for an answer calls look now and then; it may raise Overtaken.
    """

    def __init__(
        self,
        end: Callable[[float], str],
        channel: socket.socket,
        printed: IO[bytes],
        seconds: float,
        first: Mapping[str, Any],
        look: Callable[[], object],
    ) -> None:
        self._end, self._channel, self._file, self._look = end, channel, printed, look
        self._seconds = self._left = seconds
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
            raise _no_answer("a fault without its parts")
        return fault

    def answer(self, request: Mapping[str, Any]) -> Any:
        """The observation of a request. Raises WorkerLost."""
        from vitcourse.worker.workshop import Observation

        answer = self._exchange(dict(request))
        if not isinstance(answer, dict) or set(answer) != {field.name for field in fields(Observation)}:
            raise _no_answer("an answer without its parts")
        blank = Observation()
        for name, value in answer.items():
            if name != "result" and type(value) is not type(getattr(blank, name)):
                raise _no_answer("an answer with other parts")
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
        self._channel.close()
        return how

    def _exchange(self, value: dict[str, Any] | None) -> Any:
        """Send a message, unless it is None, and read one."""
        from vitcourse.worker.protocol import Gone, ProtocolError, TooLate, receive, send

        since = time.monotonic()
        try:
            if value is not None:
                send(self._channel, value, since + self._left)
            self._wait(since + self._left)
            return receive(self._channel, since + self._left)
        except TooLate:
            raise WorkerLost("timeout", f"the code did not end within {self._seconds:g} seconds") from None
        except ProtocolError as error:
            raise _no_answer(str(error)) from None
        except Gone:
            raise WorkerLost("error", f"the answer ended Python itself ({self.close(grace=0.5)})") from None
        finally:
            self._left -= time.monotonic() - since

    def _wait(self, until: float) -> None:
        # In steps, between which Python sees an interrupt, on Windows too.
        self._look()
        while (left := until - time.monotonic()) > 0:
            if select.select([self._channel], [], [], min(left, _LOOK))[0]:
                return
            self._look()


def _no_answer(why: str) -> WorkerLost:
    return WorkerLost("error", f"what came back is no answer: {why}")
