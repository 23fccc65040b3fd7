"""The errors that a user is meant to see: each is one line, without a traceback."""

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
