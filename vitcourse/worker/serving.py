"""One worker's life: it takes the texts of one learner's chapters, answers what is asked of them, and ends."""

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from . import chapters, integrity, slips
from .bans import Bans
from .fence import fence
from .limits import limit
from .protocol import TIME_OVER, Gone, receive, send
from .started import started
from .workshop import Workshop


def be_worker(channel: socket.socket, printed: int) -> None:
    """Serve on this socket, to the end of the process: this never returns."""
    try:
        with suppress(AttributeError, OSError):  # what it starts ends with it; Ctrl-C is for the judge
            os.setsid()
        for name in {"SIGINT", "SIGTERM", "SIGHUP"} & set(dir(signal)):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        serve(channel)
    except (Gone, KeyboardInterrupt):
        pass
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(0)


def serve(channel: socket.socket) -> None:
    """Answer until nobody asks any more. The first request holds the chapters, the limits and the bans."""
    first = receive(channel)
    limit(first["boxed"])
    os.chdir("/")
    os.environ.clear()
    bans = Bans()
    bans.close(first["builds"])
    chapters.install(first["texts"], first["shown"])
    if first["fenced"]:
        fence(first["fenced"])
    workshop = Workshop(chapters.find, bans)
    workshop.catches = (BaseException,)
    seen = looked_at(first)
    send(channel, seen)  # before anything of the learner's has run: this can't be forged
    left = Left(first["seconds"])
    with left:
        fault = chapters.load(first["module"]) if seen["started"] else {}
    send(channel, fault)
    while True:
        request = receive(channel)
        with left:
            observed = workshop.answer(request)
        sys.stdout.flush()  # what the answer printed is seen even where its process is ended
        send(channel, observed)


class Left:
    """The time that is left for the learner's code; shortly before it is over, the lines that run are printed.

    Where a system has no such timer (Windows), or one operation of torch takes all the time, nothing is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.timed = seconds, hasattr(signal, "setitimer")
        if self.timed:
            signal.signal(signal.SIGALRM, lambda _, frame: os.write(2, lines_of(frame).encode()))

    def __enter__(self) -> None:
        self._since = time.monotonic()
        self._set(max(min(0.95 * self.seconds, self.seconds - 0.5), 0.01))

    def __exit__(self, *_: object) -> None:
        self._set(0)
        self.seconds -= time.monotonic() - self._since

    def _set(self, seconds: float) -> None:
        if self.timed:
            signal.setitimer(signal.ITIMER_REAL, seconds)


def lines_of(frame: FrameType | None) -> str:
    """What runs, after TIME_OVER, the innermost line first; the files themselves may not be read any more."""
    lines = [f"\n{TIME_OVER}"]
    while frame is not None and len(lines) < 10:
        lines.append(f'File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}')
        frame = frame.f_back
    return "\n".join(lines)


def looked_at(first: dict[str, Any]) -> dict[str, Any]:
    """What the texts show without being run: whether the exercise is begun, and what of it there is to say."""
    text, names = first["texts"].get(first["module"], ""), first["names"]
    return {
        "started": started(text, first["stubs"], names),
        **chapters.read(text, names),
        **slips.slips(text, names),
        "around": integrity.around(first["texts"], first["shown"], first["module"], first["chapters"]),
    }
