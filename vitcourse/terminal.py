"""The command's two ends: how it was called, and what happens when nobody can read what it says any more."""

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn


def command() -> str:
    """What a user has to type here to call this command again."""
    if "UV_RUN_RECURSION_DEPTH" in os.environ:  # uv run set it
        return "uv run vitcourse"
    if Path(sys.argv[0]).stem != "vitcourse":
        return "python -m vitcourse"
    return "vitcourse" if shutil.which("vitcourse") else Path(sys.argv[0]).as_posix()


class Screen:
    """A text stream for people: commands are written as they have to be typed; where no one reads, all ends."""

    def __init__(self, stream: Any, command: str, words: Iterable[str]) -> None:
        self._stream, self._command = stream, command
        self._pattern = re.compile(rf"(?<![\w./-])(?<!uv run )(?<!-m )vitcourse (?=(?:--|(?:{'|'.join(words)})\b))")

    def write(self, text: str) -> int:
        """Write the text."""
        try:
            self._stream.write(self._pattern.sub(lambda _: f"{self._command} ", text))
        except BrokenPipeError as error:
            end_unread(error)
        return len(text)

    def flush(self) -> None:
        """Write what is still held back."""
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            end_unread(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_over_output(words: Sequence[str]) -> None:
    """From here on, what this process prints goes through a Screen; words are the command's subcommands."""
    typed = command()
    if not isinstance(sys.stdout, Screen):
        sys.stdout, sys.stderr = Screen(sys.stdout, typed, words), Screen(sys.stderr, typed, words)


def end_unread(error: OSError) -> NoReturn:
    """End as other tools do: silently where the reader has gone, else with the system's reason in one line."""
    with Path(os.devnull).open("w") as nowhere, contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what is still in its buffer can't fail again
    if isinstance(error, BrokenPipeError) and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    where = f" at {error.filename}" if error.filename else ""
    print(f"vitcourse: {error.strerror or error}{where}{_advice(error)}", file=sys.stderr)
    os._exit(1)


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "; make room, then type the same again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "; give the rights to write there, or work in another folder"
    return ""
