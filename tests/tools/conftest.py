"""What the tests of the tools share: one process for the answers that they judge, and commands as one types them."""

import os
from collections.abc import Iterator

import pytest

os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # a command was not called through uv, however pytest was


@pytest.fixture(scope="session")
def workers() -> Iterator["Workers"]:
    """The process from which all workers of these tests come."""
    from vitcourse.checking.workers import Workers

    with Workers() as started:
        yield started
