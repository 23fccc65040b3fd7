"""Single keys from the terminal, as they are pressed."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator

_WAIT = 0.2  # seconds between two looks at whether to end


@contextlib.contextmanager
def pressed(handle: Callable[[str], None]) -> Iterator[bool]:
    """Call handle with each key, on a thread of its own, while the block runs; yield whether there is a keyboard."""
    reader = _reader()
    if reader is None:
        yield False
        return
    over = threading.Event()

    def listen(keys: Iterator[str]) -> None:
        for key in keys:
            if over.is_set():
                return
            if key:
                handle(key)

    with reader as keys:
        thread = threading.Thread(target=listen, args=(keys,), daemon=True)
        thread.start()
        try:
            yield True
        finally:
            over.set()
            thread.join(5 * _WAIT)


def _reader() -> contextlib.AbstractContextManager[Iterator[str]] | None:
    try:
        file = sys.stdin.fileno()
        if not os.isatty(file):
            return None
        if sys.platform == "win32":
            return _on_windows()
        # Who reads from a terminal in the background is stopped.
        return _on_terminal(file) if os.tcgetpgrp(file) == os.getpgrp() else None
    except (OSError, ValueError, AttributeError):
        return None


@contextlib.contextmanager
def _on_terminal(file: int) -> Iterator[Iterator[str]]:
    import select
    import termios
    import tty

    def keys() -> Iterator[str]:
        while True:
            ready = select.select([file], [], [], _WAIT)[0]
            got = os.read(file, 1) if ready else b""
            if ready and not got:
                return
            yield got.decode("ascii", "ignore")

    before = termios.tcgetattr(file)
    tty.setcbreak(file, termios.TCSANOW)
    try:
        yield keys()
    finally:
        termios.tcsetattr(file, termios.TCSANOW, before)


@contextlib.contextmanager
def _on_windows() -> Iterator[Iterator[str]]:
    import msvcrt
    import time

    def keys() -> Iterator[str]:
        while True:
            if msvcrt.kbhit():  # type: ignore[attr-defined]
                yield msvcrt.getwch()  # type: ignore[attr-defined]
            else:
                time.sleep(_WAIT)
                yield ""

    yield keys()
