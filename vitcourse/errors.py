"""The errors that a user is meant to see: each is one line, without a traceback."""


class RequestError(Exception):
    """The request itself was wrong. Its message is one line: what is wrong, and what to type instead.

    The command line prints it on stderr and exits with 2.
    """


class RunError(Exception):
    """What was asked for rightly and yet failed. Its message is one line; the exit code is 1."""
