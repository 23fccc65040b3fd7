"""The processes in which learners' code runs: one is kept that has torch loaded, and each exercise gets a fork of it.

Here the wall stands: what a learner's code does to its process reaches the judge as answers over a pipe, limited in
size and time, or as an end.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vitcourse import worker
from vitcourse.errors import RunError
from vitcourse.places import root
from vitcourse.worker.__main__ import process_space

if TYPE_CHECKING:
    from vitcourse.worker.protocol import File

START = 120.0  # seconds in which torch should be loaded, or its optimizers
ANSWER = 20.0  # seconds in which a fork should be made or ended
FORKS = hasattr(os, "fork")
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


class Workers:
    """Starts workers. wrapped is a command that the process is started with, such as a box."""

    def __new__(cls, wrapped: Sequence[str] = ()) -> "Workers":
        """The ones of this system."""
        if FORKS:
            return super().__new__(cls)
        from vitcourse.checking.spawned import Spawned

        return super().__new__(Spawned)

    def __init__(self, wrapped: Sequence[str] = ()) -> None:
        self.wrapped = tuple(wrapped)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._loaded = self._optimizer = False

    def begin(self) -> None:
        """Start loading torch; this doesn't wait for it."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._control, theirs = socket.socketpair()
            python = os.path.realpath(sys.executable) if self.wrapped else sys.executable
            with theirs:
                self._process = subprocess.Popen(
                    [*self.wrapped, *program(python)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )

    def start(self, first: Mapping[str, Any], seconds: float, optimizer: bool = False) -> "Worker":
        """A worker on these chapters; seconds is the time that it may take in all."""
        self._ready()
        if optimizer and not self._optimizer:
            self._optimizer = self._say("optimizer", seconds=START) == "loaded"
        printed = tempfile.TemporaryFile()  # noqa: SIM115  # the worker closes it
        read, theirs = os.pipe()
        its_read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            number = int(self._say("start", its_read, theirs, printed.fileno()))
        except (WorkerEnded, ValueError):
            os.close(read)
            os.close(write)
            raise
        finally:
            os.close(its_read)
            os.close(theirs)
        return Worker(self, number, read, write, printed, seconds, {**first, "boxed": bool(self.wrapped)})

    @property
    def pid(self) -> int | None:
        """The number of the process that is kept, if there is one."""
        return self._process.pid if self._process is not None else None

    def end(self, number: int, grace: float) -> str:
        """End a worker; how it had ended by itself, or did in so many seconds; else "killed"."""
        try:
            return self._say(f"end {number} {grace}")
        except WorkerEnded as error:
            return error.how

    def close(self) -> None:
        """End the process that is kept."""
        if self._process is not None and self._control is not None:
            self._control.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
            self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = self._control = None
            self._loaded = self._optimizer = False

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> None:
        """Wait until torch is loaded."""
        self.begin()
        if not self._loaded:
            if self._line(START) == "ready":
                self._loaded = True
                return
            assert self._process is not None
            assert self._process.stderr is not None
            self._process.kill()
            said = self._process.stderr.read(4096)
            self.close()
            raise not_started(said)

    def _say(self, words: str, *files: int, seconds: float = ANSWER) -> str:
        """Ask for something. Raises WorkerEnded when the process is no longer there, or no longer answers."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._control, [f"{words}\n".encode()], files)
            if line := self._line(seconds):
                return line
            self.close()
        raise WorkerEnded("and all beside it")

    def _line(self, seconds: float) -> str:
        """What it says; empty when it has said nothing in this time, or has ended."""
        assert self._control is not None
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if select.select([self._control], [], [], seconds)[0]:
                return self._control.recv(4096).decode().strip()
        return ""


class Worker:
    """One exercise's process. All that is asked of it takes from one budget of time."""

    def __init__(
        self,
        workers: Workers,
        number: int,
        read: "File",
        write: "File",
        printed: IO[bytes],
        seconds: float,
        first: Mapping[str, Any],
    ) -> None:
        self._workers, self._number, self._read, self._write, self._file = workers, number, read, write, printed
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
        how = self._workers.end(self._number, grace)
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


def paths() -> list[str]:
    """Where the worker finds torch: this Python's paths, without the course's own folder."""
    own = root().resolve()
    return [path for path in sys.path if path and Path(path).resolve() != own and Path(path).is_dir()]


def program(python: str, *more: str) -> list[str]:
    """What starts the process."""
    main = Path(worker.__file__).parent / "__main__.py"
    return [python, "-I", "-S", str(main), json.dumps(paths()), process_space(), *more]


def not_started(said: bytes) -> RunError:
    """What is wrong where the process didn't load torch, in the last words that it said."""
    words = " ".join(said.decode(errors="replace").split()[-30:])
    return RunError(f"the process for the answers could not be started: {words}")


def fenced() -> list[str]:
    """The folders of the course that no answer may read."""
    return [str(root() / name) for name in ("solutions", "tests", "vitcourse", "chapters", "book", "benchmarks")]
