"""One worker's life: it takes the texts of one learner's chapters, answers what is asked of them, and ends."""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from . import chapters
from .bans import Bans
from .fence import fence
from .limits import limit
from .protocol import Gone, receive, send
from .workshop import Workshop


def be_worker(requests: int, answers: int, printed: int) -> None:
    """Serve on these files, to the end of the process: this never returns."""
    try:
        os.setsid()  # what it starts ends with it; Ctrl-C is for the judge
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        serve(requests, answers)
    except (Gone, KeyboardInterrupt):
        pass
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(0)


def serve(requests: int, answers: int) -> None:
    """Answer until nobody asks any more. The first request holds the chapters, the limits and the bans."""
    first = receive(requests)
    limit()
    os.chdir("/")
    os.environ.clear()
    bans = Bans()
    bans.close(first["builds"])
    chapters.install(first["texts"], first["shown"])
    if first["fenced"]:
        fence(first["fenced"])
    workshop = Workshop(chapters.find, bans, first["builds"])
    workshop.catches = (BaseException,)
    send(answers, loaded(first))
    while True:
        seen = workshop.answer(receive(requests))
        sys.stdout.flush()  # what the answer printed is seen even where its process is ended
        send(answers, seen)


def loaded(first: dict[str, Any]) -> dict[str, Any]:
    """What loading the chapter of the exercise gave: the fault, if there was one, and what its text shows."""
    text = first["texts"].get(first["module"], "")
    return {
        "fault": chapters.load(first["module"]) if first["module"] in first["texts"] else {},
        "read": chapters.read(text, first["names"]),
        "like": {name: chapters.defined_like(text, name) for name in first["names"]},
    }
