"""Workers where a system can't fork, such as Windows: each exercise gets a process that has loaded torch by itself.

The next one loads while the present one is judged. Judge and worker talk over a socket of this machine alone; a word
that nobody else knows says that who connects is the process that was started.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitcourse.checking.workers import ANSWER, START, Worker, WorkerEnded, Workers, not_started, program


class Spawned(Workers):
    """Starts workers without forks."""

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
        return Worker(
            self, process.number, process.socket, process.socket, process.printed, seconds, {**first, "boxed": False}
        )

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
