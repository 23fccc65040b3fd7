"""The one error that a user is meant to see: a request that can't be met, said in one line."""


class RequestError(Exception):
    """The request itself was wrong. Its message is one line: what is wrong, and what to type instead.

    The command line prints it on stderr and exits with 2; no traceback.
    """
