"""What is printed, on any console: JSON is UTF-8 always, and text falls back to plain letters where a console has none.

An old console, or a pipe on Windows, lacks letters such as √ or →. Python's own way out is a traceback.
"""

import codecs
import io
import json
import sys
import unicodedata
from typing import Any

from vitcourse.terminal import end_unread

PLAINLY = "vitcourse.plainly"

_WORDS = {
    "·": "*", "×": "x", "√": "sqrt ", "…": "...", "→": "->", "←": "<-", "−": "-", "±": "+-", "≈": "~", "≠": "!=",
    "≤": "<=", "≥": ">=", "⌈": "ceil(", "⌉": ")", "‖": "||", "∞": "inf", "ᵀ": "^T", "ᵢ": "_i", "²": "^2", "³": "^3",
    "⁴": "^4", "⁵": "^5", "Φ": "Phi", "π": "pi", "ε": "eps",
    "α": "alpha", "β": "beta", "λ": "lambda", "Σ": "sum ", "σ": "sigma", "μ": "mu",
    "½": "1/2", "¼": "1/4", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "▶": ">", "✓": "v", "✗": "x",
}  # fmt: skip


def speak_plainly() -> None:
    """Let stdout and stderr write what they lack in plain letters. The command line calls this once."""
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
