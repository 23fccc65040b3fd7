"""The processes in which learners' code runs: one is kept that has torch loaded, and each exercise gets a fork of it.

Where a system can't fork, such as Windows, each exercise gets the process itself, while the next one loads.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from vitcourse import worker
from vitcourse.checking.wall import Worker, WorkerLost
from vitcourse.errors import RunError
from vitcourse.places import root
from vitcourse.worker.__main__ import process_space

START = 120.0  # seconds in which torch should be loaded, or its optimizers
ANSWER = 20.0  # seconds in which a fork should be made or ended
FORKS = hasattr(os, "fork")


class Workers:
    """Starts workers. wrapped is a command that their process is started with, such as a box."""

    def __init__(self, wrapped: Sequence[str] = ()) -> None:
        self.wrapped = tuple(wrapped)
        self.look: Callable[[], object] = lambda: None  # what their workers call while one waits
        self._process: _Process | None = None
        self._running: list[_Process] = []  # where no fork can be made

    def begin(self) -> None:
        """Start loading torch; this doesn't wait for it."""
        if self._process is not None and self._process.has_ended():
            self.close()
        if self._process is None:
            self._process = _Process(self.wrapped)

    def start(self, first: Mapping[str, Any], seconds: float, optimizer: bool = False) -> Worker:
        """A worker on these chapters; seconds is the time that it may take in all.

        Raises WorkerLost, and RunError when torch can't be loaded.
        """
        self.begin()
        assert self._process is not None
        process, first = self._process, {**first, "boxed": bool(self.wrapped)}
        try:
            process.wait()
            if optimizer:
                process.say("optimizer", seconds=START)
            if FORKS:
                return self._forked(process, first, seconds)
            process.say("start")
        except BaseException:
            self.close()
            raise
        self._running.append(process)
        self._process = None
        self.begin()
        return Worker(process.end, process.socket, process.printed, seconds, first, self.look)

    def _forked(self, process: "_Process", first: Mapping[str, Any], seconds: float) -> Worker:
        ours, theirs = socket.socketpair()
        printed = tempfile.TemporaryFile()  # noqa: SIM115  # read as long as there is the worker
        try:
            with theirs:
                number = int(process.say("start", theirs.fileno(), printed.fileno()))
        except WorkerLost:
            ours.close()
            raise
        return Worker(partial(self._end_fork, number), ours, printed, seconds, first, self.look)

    def _end_fork(self, number: int, grace: float) -> str:
        try:
            if self._process is not None:
                return self._process.say(f"end {number} {grace}")
        except WorkerLost:
            self.close()
        return "and all beside it"

    @property
    def pid(self) -> int | None:
        """The number of the process that is kept, if there is one."""
        return self._process.number if self._process is not None else None

    def close(self) -> None:
        """End them all."""
        for process in (*self._running, *([self._process] if self._process else [])):
            process.end(2.0)
        self._running, self._process = [], None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Process:
    """A process that loads torch, and the socket over which it is told what to do.

    A fork takes its end with it. Elsewhere the process connects to a port of this machine, and a word that nobody else
    knows says that it is the one that was started.
    """

    def __init__(self, wrapped: Sequence[str]) -> None:
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115  # end closes it
        self._word, self._loaded = "" if FORKS else secrets.token_hex(16), False
        if FORKS:
            self.socket, theirs = socket.socketpair()
            more = []
        else:
            theirs, self.socket = None, socket.create_server(("127.0.0.1", 0), backlog=1)
            more = [str(self.socket.getsockname()[1])]
        main = Path(worker.__file__).parent / "__main__.py"
        python = os.path.realpath(sys.executable) if wrapped else sys.executable
        self._process = subprocess.Popen(
            [*wrapped, python, "-I", "-S", str(main), json.dumps(paths()), process_space(), *more],
            stdin=theirs.fileno() if theirs else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.printed,
            start_new_session=True,
        )
        self.number = self._process.pid
        if theirs is not None:
            theirs.close()
        if self._process.stdin is not None:
            with suppress(OSError), self._process.stdin as told:
                told.write(f"{self._word}\n".encode())  # not among the arguments, which others can see

    def has_ended(self) -> bool:
        """Whether it is no longer there."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait until it has loaded torch. Raises RunError when it can't."""
        if self._loaded:
            return
        with suppress(OSError):
            self.socket.settimeout(START)
            if self._word:
                with self.socket as listener:
                    self.socket, _ = listener.accept()
                self.socket.settimeout(START)
            if self._line() == f"ready {self._word}".strip():
                self._loaded = True
                return
        self._process.kill()
        self._process.wait()
        self.printed.seek(0)
        words = " ".join(self.printed.read(4096).decode(errors="replace").split()[-30:])
        raise RunError(f"the process for the answers could not be started: {words}")

    def say(self, words: str, *files: int, seconds: float = 0.0) -> str:
        """Ask for something, and wait for the answer. Raises WorkerLost when it isn't there, or doesn't answer."""
        with suppress(OSError):
            self.socket.settimeout(seconds or ANSWER)
            text = f"{words}\n".encode()
            if files:
                socket.send_fds(self.socket, [text], files)
            else:
                self.socket.sendall(text)
            if line := self._line():
                return line
        raise WorkerLost("error", "the answer ended Python itself (and all beside it)")

    def _line(self) -> str:
        """One line, to its end and no further."""
        line = b""
        while not line.endswith(b"\n") and (letter := self.socket.recv(1)):
            line += letter
        return line.decode(errors="replace").strip()

    def end(self, grace: float) -> str:
        """End it; how it had ended by itself, or did in so many seconds; else "killed"."""
        self.socket.close()
        try:
            code = self._process.wait(grace if self._loaded else 0)  # before that it hears nothing
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            how = "killed"
        if not FORKS and hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self.number, 9)
        self._process.kill()
        self._process.wait()
        return how


def paths() -> list[str]:
    """Where the worker finds torch: this Python's paths, without the course's own folder."""
    own = root().resolve()
    return [path for path in sys.path if path and Path(path).resolve() != own and Path(path).is_dir()]


def fenced() -> list[str]:
    """The folders of the course that no answer may read: the package, wherever it lies, and what belongs to it."""
    rooms = (root() / name for name in ("solutions", "tests", "chapters", "book", "benchmarks"))
    return [str(folder) for folder in (Path(worker.__file__).parents[1], *rooms)]
