"""What the tests of the tools share: one process for the answers that they judge, and commands as one types them."""

import os
from contextlib import nullcontext

import pytest

from vitcourse.checking import grading, pytest_plugin
from vitcourse.checking import workers as processes
from vitcourse.checking.workers import Workers

os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # a command was not called through uv, however pytest was


@pytest.fixture(scope="session")
def workers(request: pytest.FixtureRequest) -> Workers:
    """The process from which all workers of these tests come, and of the chapters' checks."""
    return pytest_plugin.workers(request.config)


@pytest.fixture
def one_process(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that judges takes the process that is there: to load torch in one of its own takes seconds."""
    for module in (grading, processes):
        monkeypatch.setattr(module, "Workers", lambda: nullcontext(workers))
