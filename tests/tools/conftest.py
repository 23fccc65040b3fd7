"""What the tests of the tools share: one process for the answers that they judge, and commands as one types them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import Ended, typed
from pages import WIDE, watched

from vitcourse.checking import examples, naming, pytest_plugin
from vitcourse.checking import workers as processes
from vitcourse.checking.workers import Workers
from vitcourse.errors import RunError
from vitcourse.stubs import init

os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # a command was not called through uv, however pytest was


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole notebooks go first: at the end one process would wait for the other's last."""
    items.sort(key=lambda item: "notebook" not in item.name)


@pytest.fixture(scope="session")
def workers(request: pytest.FixtureRequest) -> Workers:
    """The process from which all workers of these tests come, and of the chapters' checks."""
    return pytest_plugin.workers(request.config)


@pytest.fixture
def attended() -> Iterator[None]:
    """Ctrl-C as in a terminal; where tests run in the background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_process(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that judges takes the process that is there: to load torch in one of its own takes seconds."""
    monkeypatch.setattr(processes, "Workers", lambda: nullcontext(workers))


@pytest.fixture
def uncaused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why an answer is wrong is not looked for, which takes seconds."""
    monkeypatch.setattr(naming, "named", lambda *_: None)
    monkeypatch.setattr(examples, "opinion", lambda *_, **__: [])


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command line, called in this process."""
    return partial(typed, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that init has made, and that is the current one."""
    init(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture(scope="session")
def forked_kernels() -> Iterator[None]:
    """Notebooks are run by forks of one process."""
    from vitcourse.book.execution import forked

    with forked():
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Not for longer than a module: while it is open, nothing else can have an event loop."""
    from vitcourse.book.browser import launch

    try:
        with launch() as started:
            yield started
    except RunError as error:
        pytest.skip(str(error))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own."""
    contexts = []

    def open_it(address: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = watched(context.new_page())
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
