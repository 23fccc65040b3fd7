"""The errors that a user is meant to see: each is one line, without a traceback."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from urllib.error import URLError


class RequestError(Exception):
    """The request itself was wrong. Its message is one line: what is wrong, and what to type instead.

    The command line prints it on stderr and exits with 2.
    """


class RunError(Exception):
    """What was asked for rightly and yet failed. Its message is one line; the exit code is 1."""


def why(error: Exception) -> str:
    """The cause of an error in one line: the system's own words where there are some."""
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image that Pillow can read"
    if type(error).__name__ == "DecompressionBombError":
        return "more pixels than Pillow will open; make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    # torchvision lists what it tried, and ends with the cause of the last failure.
    return lines[-1].strip("<>") if lines else type(error).__name__


def in_one_line(error: BaseException) -> str:
    """All that an error says."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of what an error says: some libraries go on for a screen."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def misfit(error: Exception) -> str:
    """What of a state dict doesn't fit; torch begins with a line that says nothing, and has one more for each part."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1 if len(lines) > 1 else 0].rstrip(".") if lines else type(error).__name__


def suggestion(word: str, known: Iterable[str]) -> str:
    """What to type in the place of a word that nobody knows."""
    close = get_close_matches(word.lower(), known, n=1)
    return f"did you mean {close[0]}?" if close else f"type one of: {', '.join(known)}"


def listed(words: Sequence[str], between: str = ", ", most: int = 3) -> str:
    """The first of several words, and how many there are more."""
    more = f"{between}and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


@contextmanager
def naming_what_lacks(entry: str) -> Iterator[None]:
    """Of an entry of the course's own files that a contributor left unfinished, say which it is and what it lacks."""
    try:
        yield
    except TypeError as error:
        raise RequestError(f"{entry}: {str(error).partition('() ')[2]}") from error
