"""What is printed, on any console: JSON in UTF-8, text in letters that it has, commands as they have to be typed.

An old console, or a pipe on Windows, lacks letters such as √ or →, and a reader may have gone. Python's own way out of
both is a traceback.
"""

import codecs
import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

PLAINLY = "vitcourse.plainly"
_NARROWEST = 20

_WORDS = {
    "·": "*", "×": "x", "√": "sqrt ", "…": "...", "→": "->", "←": "<-", "−": "-", "±": "+-", "≈": "~", "≠": "!=",
    "≤": "<=", "≥": ">=", "⌈": "ceil(", "⌉": ")", "‖": "||", "∞": "inf", "ᵀ": "^T", "ᵢ": "_i", "²": "^2", "³": "^3",
    "⁴": "^4", "⁵": "^5", "Φ": "Phi", "π": "pi", "ε": "eps",
    "α": "alpha", "β": "beta", "λ": "lambda", "Σ": "sum ", "σ": "sigma", "μ": "mu",
    "½": "1/2", "¼": "1/4", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "▶": ">", "✓": "v", "✗": "x",
}  # fmt: skip


def speak_plainly() -> None:
    """Let stdout and stderr write what they lack in plain letters, in lines. The command line calls this once."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < _NARROWEST:
        del os.environ["COLUMNS"]  # no width of a terminal; 0, which some editors set, would print nothing at all
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAINLY)


def print_json(value: Any) -> None:
    """Print a value for other programs, in UTF-8 whatever the console's encoding is."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    sys.stdout.flush()
    bytes_of = getattr(sys.stdout, "buffer", None)
    if bytes_of is None:
        sys.stdout.write(text)
        return
    try:
        bytes_of.write(text.encode("utf-8", "backslashreplace"))  # which is JSON's own way to say it
        bytes_of.flush()
    except BrokenPipeError as error:
        end_unread(error)


def plain(text: str) -> str:
    """The text in ASCII, as near as it gets."""
    return "".join(map(_plain, text))


def _plain(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _WORDS:
        return _WORDS[letter]
    if "\u2500" <= letter <= "\u259f":  # frames and blocks
        return "-" if letter in "─━═╌┄┈╴╶╸╺" else "|" if letter in "│┃║╎┆┊╵╷╹╻" else "#" if letter >= "\u2580" else "+"
    if "\u2800" <= letter <= "\u28ff":  # what turns while one waits
        return "*"
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return plain(error.object[error.start : error.end]), error.end


codecs.register_error(PLAINLY, _plainly)


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
        try:
            self._stream.write(self._pattern.sub(lambda _: f"{self._command} ", text))
        except BrokenPipeError as error:
            end_unread(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            end_unread(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_over_output(words: Iterable[str]) -> None:
    """From here on, what this process prints goes through a Screen; words are the command's subcommands."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before this began
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    if not isinstance(sys.stdout, Screen):
        typed = command()
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
    if error.errno == errno.ENOENT and not error.filename:
        try:
            Path.cwd()
        except OSError:
            return ": the folder that you are in is gone; go to another with cd, then type the same again"
        return "; set TMPDIR to a folder that can be written to"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "; give the rights to write there, or work in another folder"
    return ""
