"""The processes in which learners' code runs: one is kept that has torch loaded, and each exercise gets a fork of it.

Where a system can't fork, each gets a process of its own.
"""

import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitcourse import worker
from vitcourse.checking.wall import Worker, WorkerEnded
from vitcourse.errors import RunError
from vitcourse.places import root
from vitcourse.worker.__main__ import process_space

START = 120.0  # seconds in which torch should be loaded, or its optimizers
ANSWER = 20.0  # seconds in which a fork should be made or ended
FORKS = hasattr(os, "fork")


class Workers:
    """Starts workers. wrapped is a command that the process is started with, such as a box."""

    def __new__(cls, wrapped: Sequence[str] = ()) -> "Workers":
        """The ones of this system."""
        return super().__new__(cls if FORKS else Spawned)

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
        end = partial(self.end, number)
        return Worker(end, read, write, printed, seconds, {**first, "boxed": bool(self.wrapped)})

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


class Spawned(Workers):
    """Starts workers where a system can't fork, such as Windows: each is a process that has loaded torch by itself.

    The next one loads while the present one is judged. Judge and worker talk over a socket of this machine alone; a
    word that nobody else knows says that who connects is the process that was started.
    """

    def __init__(self, wrapped: Sequence[str] = ()) -> None:
        super().__init__(wrapped)
        self._next: _Process | None = None
        self._running: dict[int, _Process] = {}

    def begin(self) -> None:
        """Start a process that loads torch, unless one is waiting already; this doesn't wait for it."""
        if self._next is None:
            self._next = _Process()

    def start(self, first: Mapping[str, Any], seconds: float, optimizer: bool = False) -> Worker:
        """A worker on these chapters; seconds is the time that it may take in all."""
        self.begin()
        assert self._next is not None
        process, self._next = self._next, None
        self._running[process.number] = process
        try:
            process.wait()
            if optimizer:
                process.say("optimizer")
            process.say("start")
        except BaseException:
            self.end(process.number, 0.0)
            raise
        self.begin()
        process.socket.setblocking(False)
        end = partial(self.end, process.number)
        return Worker(end, process.socket, process.socket, process.printed, seconds, {**first, "boxed": False})

    @property
    def pid(self) -> int | None:
        """There is none that is kept."""
        return None

    def end(self, number: int, grace: float) -> str:
        """End a worker; how it had ended by itself, or did in so many seconds; else "killed"."""
        return self._running.pop(number).end(grace)

    def close(self) -> None:
        """End all of them."""
        for process in (*self._running.values(), *([self._next] if self._next else [])):
            process.end(0.0)
        self._running, self._next = {}, None


class _Process:
    """A process that loads torch, and the socket over which it is spoken to."""

    def __init__(self) -> None:
        self.printed = tempfile.NamedTemporaryFile(prefix="vitcourse-", delete=False)  # noqa: SIM115  # end does
        self._word = secrets.token_hex(16)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.socket = socket.socket()
        port = str(self._listener.getsockname()[1])
        self._process = subprocess.Popen(
            program(sys.executable, port, self.printed.name),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.number = self._process.pid
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as told:
            told.write(f"{self._word}\n".encode())  # not among the arguments, which others can see

    def wait(self) -> None:
        """Wait until it has loaded torch. Raises RunError when it can't."""
        self._listener.settimeout(START)
        with contextlib.suppress(OSError), self._listener:
            self.socket, _ = self._listener.accept()
            self.socket.settimeout(START)
            if self._line() == f"ready {self._word}":
                self.socket.settimeout(ANSWER)
                return
        self._process.kill()
        _, said = self._process.communicate()
        raise not_started(said)

    def say(self, words: str) -> None:
        """Ask for something, and wait until it is done. Raises WorkerEnded when the process is no longer there."""
        with contextlib.suppress(OSError):
            self.socket.sendall(f"{words}\n".encode())
            if self._line():
                return
        raise WorkerEnded("before it began")

    def _line(self) -> str:
        """One line, to its end and no further."""
        line = b""
        while not line.endswith(b"\n") and (letter := self.socket.recv(1)):
            line += letter
        return line.decode(errors="replace").strip()

    def end(self, grace: float) -> str:
        """End it, and what it started where the system knows that."""
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            how = "killed"
        else:
            code = self._process.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(self.number, 9)
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for thing in (self._process.stderr, self._listener, self.socket, self.printed):
            if thing is not None:
                thing.close()
        Path(self.printed.name).unlink(missing_ok=True)
        return how


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
