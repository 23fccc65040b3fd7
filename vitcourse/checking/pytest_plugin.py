"""What pytest needs to know of the course: one check for each exercise, run on each set of chapters.

A check is a test function marked `@pytest.mark.exercise("1.3")` that asks for the fixture `check`. On the solutions it
must pass. On a learner's chapters it is skipped while the exercise is not started or is blocked by an earlier one.
"""

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from vitcourse.codesets import OWN_SETS, BrokenChapterError, CodeSet, load_code
from vitcourse.course import Exercise, exercise
from vitcourse.errors import RequestError
from vitcourse.progress import is_started

if TYPE_CHECKING:
    from vitcourse.checking.check import Check

_STUB = re.compile(r"exercise (\d+\.\d+) is yours to write")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options with which `vitcourse check` calls pytest; they work by hand too."""
    group = parser.getgroup("vitcourse")
    group.addoption(
        "--code", action="append", metavar="SET", help="check this set only: solutions, chapters or a folder's path"
    )
    group.addoption("--exercises", metavar="IDS", help="check these exercises only, such as 1.1,1.2")
    group.addoption("--limited", action="store_true", help="limit the memory and the output that a check may take")
    group.addoption(
        "--use-solution",
        action="append",
        default=[],
        metavar="CHAPTER",
        help="put the solution in the place of this chapter, such as ch02",
    )
    group.addoption("--verdicts", metavar="FILE", type=Path, help="write one JSON line for each check to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the mark, and keep what becomes of each exercise."""
    config.addinivalue_line("markers", "exercise(id): the check of one exercise, run on each set of chapters")
    config.stash[_LEDGER] = _Ledger(config.getoption("--verdicts"))
    if config.getoption("--limited"):
        import torch  # noqa: F401  # its libraries are no part of what a check takes

        from vitcourse.checking.limits import limit

        limit()
        folders = [Path(name) for name in config.getoption("--code") or () if Path(name).is_dir()]
        config.stash[_FILES] = {file: file.read_bytes() for folder in folders for file in folder.glob("*.py")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each check once for every set of chapters."""
    if "check" in metafunc.fixturenames and metafunc.definition.get_closest_marker("exercise"):
        names = metafunc.config.getoption("--code") or OWN_SETS
        metafunc.parametrize("check", names, indirect=True, ids=[Path(name).name for name in names])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the checks that `--exercises` names."""
    wanted = config.getoption("--exercises")
    if wanted is None:
        return
    ids = wanted.split(",")
    kept = [item for item in items if (marker := item.get_closest_marker("exercise")) and marker.args[0] in ids]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Iterator["Check"]:
    """The exercise of the test's mark, in the set of chapters that the test runs on."""
    import torch

    from vitcourse.checking.check import Check

    marker = request.node.get_closest_marker("exercise")
    asked = exercise(marker.args[0])
    for file, content in request.config.stash.get(_FILES, {}).items():
        # What the code of an earlier check did to the copied files is no fault of this one.
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)
    replaced = request.config.getoption("--use-solution") if request.param != "solutions" else ()
    code = load_code(request.param, replaced)
    request.config.stash[_LEDGER].open(code, asked)
    if not _is_reference(code) and not is_started(code, asked):
        pytest.skip(f"exercise {asked.id} not started")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield Check(asked, code, load_code("solutions"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A failure that an earlier exercise explains is a skip, and says which exercise."""
    try:
        return (yield)
    except (Exception, SystemExit) as error:
        check = cast("Check | None", pyfuncitem.funcargs.get("check"))
        if check is not None and not _is_reference(check.code):
            blocker = pyfuncitem.config.stash[_LEDGER].blocker(check.code, check.exercise, error)
            if blocker is not None:
                pytest.skip(f"blocked by {blocker}")
            _find_cause(pyfuncitem, check, error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what became of the exercise; a skip points at the check and not at this file."""
    report = yield
    marker = item.get_closest_marker("exercise")
    if marker is not None and isinstance(item, pytest.Function) and "check" in item.fixturenames:
        asked = exercise(marker.args[0])
        if report.skipped and isinstance(report.longrepr, tuple):
            report.longrepr = (str(item.path), (item.location[1] or 0) + 1, report.longrepr[2])
        name = str(item.callspec.params["check"])
        item.config.stash[_LEDGER].close(name, asked, call, report)
    return report


def _find_cause(item: pytest.Function, check: "Check", error: BaseException) -> None:
    """Let the error say which known misunderstanding it is, if it is one."""
    from vitcourse.checking.check import CheckFailedError
    from vitcourse.checking.diagnosis import likely_cause

    if isinstance(error, CheckFailedError):
        found = likely_cause(item.obj, check, error)
        if found is not None:
            error.misconception, error.cause = found.name, found.says
            error.add_note(found.says)


class _Ledger:
    """What became of each exercise of each set so far, and, if wanted, a file of it as JSON lines."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.status: dict[tuple[str, str], str] = {}

    def open(self, code: CodeSet, asked: Exercise) -> None:
        """Say that a check begins: whoever reads the file knows where a run that died was."""
        self._write({"code": code.name, "exercise": asked.id, "status": "running"})

    def close(self, name: str, asked: Exercise, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        """Keep the verdict of a check that has ended, in whichever of its phases it did."""
        if report.when == "teardown" or (report.when == "setup" and report.passed):
            return
        error = call.excinfo.value if call.excinfo else None
        status, headline, diagnosis = _verdict(error, report)
        self.status[name, asked.id] = status
        misconception = getattr(error, "misconception", "")
        if misconception:
            # The cause first; then what showed it.
            headline, diagnosis = getattr(error, "cause", ""), f"{headline}\n{diagnosis}".rstrip()
        verdict = {"exercise": asked.id, "status": status, "headline": headline, "diagnosis": diagnosis}
        self._write({"code": name, **verdict, "misconception": misconception})

    def blocker(self, code: CodeSet, asked: Exercise, error: BaseException) -> str | None:
        """The earlier exercise, not done, that explains why this one failed."""
        for needed in asked.all_needs:
            status = self.status.get((code.name, needed.id), "passed" if is_started(code, needed) else "not-started")
            if status != "passed":
                return needed.id
        stub = _stub_behind(error)
        return stub if stub != asked.id else None

    def _write(self, record: dict[str, str]) -> None:
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


_LEDGER = pytest.StashKey[_Ledger]()
_FILES = pytest.StashKey[dict[Path, bytes]]()


def _verdict(error: BaseException | None, report: pytest.TestReport) -> tuple[str, str, str]:
    """Status, headline and diagnosis."""
    from vitcourse.checking.check import CheckFailedError, RaisedError

    if error is None:
        return "passed", "passed", ""
    if report.skipped:
        reason = str(error).removeprefix("Skipped: ")
        return ("blocked" if reason.startswith("blocked") else "not-started"), reason, ""
    if isinstance(error, RaisedError):
        return "error", error.headline, error.diagnosis
    if isinstance(error, CheckFailedError):
        return "failed", error.headline, error.diagnosis
    if isinstance(error, BrokenChapterError | RequestError):
        return "error", str(error), ""
    return "error", f"{type(error).__name__}: {' '.join(str(error).split())}", ""


def _stub_behind(error: BaseException | None) -> str | None:
    """The exercise whose stub raised, if that is what is behind an exception."""
    while error is not None:
        if isinstance(error, NotImplementedError) and (found := _STUB.search(str(error))):
            return found[1]
        error = error.__cause__
    return None


def _is_reference(code: CodeSet) -> bool:
    return code.name == "solutions"
