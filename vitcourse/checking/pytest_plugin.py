"""What pytest needs to know of the course: one check for each exercise, run on each set of chapters.

A check is a test function marked `@pytest.mark.exercise("1.3")` that asks for `check`. pytest runs the judge; a
learner's code runs in a worker's process, and can't end this one or reach into it. On the solutions a check must pass.
On a learner's chapters it is skipped while the exercise is not started or is blocked by an earlier one.
`pytest chapters`, or a file in it, runs the checks of those alone.
"""

import atexit
import gc
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vitcourse.codesets import OWN_SETS, load_code
from vitcourse.course import exercise
from vitcourse.errors import RequestError
from vitcourse.places import CHAPTERS, root
from vitcourse.speech import command
from vitcourse.worker.loading import loading

if TYPE_CHECKING:
    from vitcourse.checking.grading import Course
    from vitcourse.checking.workers import Workers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which chapters to check, and on which inputs."""
    group = parser.getgroup("vitcourse")
    group.addoption(
        "--code", action="append", metavar="SET", help="check this set only: solutions, chapters or a folder's path"
    )
    group.addoption("--seed", type=int, metavar="N", help="repeat the inputs of a check that said this seed")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the marks of the chapters' tests, and where the checks of chapters/ are."""
    config.addinivalue_line("markers", "exercise(id): the check of one exercise, run on each set of chapters")
    config.addinivalue_line("markers", "thorough: all that other tests sample: minutes; uv run pytest -m thorough")
    config.stash[_COURSES] = {}
    here, own = config.invocation_params.dir, config.rootpath / CHAPTERS
    asked = [_checks_of(own, Path(here, arg).resolve()) for arg in config.args]
    if asked and all(asked):
        config.args = [str(file) for files in asked for file in files]
        config.option.code = [CHAPTERS if here.is_relative_to(config.rootpath) else str(own)]
        config.stash[_CHECKS_ALONE] = True


def _checks_of(own: Path, path: Path) -> list[Path]:
    """The files with the checks of a folder of chapters, or of one file in it; none of another path."""
    if own not in (path, path.parent):
        return []
    return sorted((root() / "tests").glob("test_ch*.py" if path == own else f"test_{path.name}"))


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Run what takes long in two processes, where pytest-xdist is there; a file or a test that is asked for, in one."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and config.rootpath == root()
    unsaid = getattr(config.option, "numprocesses", "no xdist") is None and not hasattr(config, "workerinput")
    if whole and unsaid and not config.option.usepdb:
        config.option.numprocesses, config.option.dist = 2, "loadgroup"
    if hasattr(config, "workerinput"):
        config.option.loadgroup = True  # the processes see what was typed, and that wasn't
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep in one process all that has answers judged, and the tests of one file: what they work out, they share.

    Torch is then loaded once for the workers, and the checks of one set find one another's verdicts.
    """
    if _CHECKS_ALONE in config.stash:
        others = [item for item in items if not item.get_closest_marker("exercise")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        assert isinstance(item, pytest.Function)
        if not item.get_closest_marker("xdist_group"):
            judged = {"check", "workers"} & set(item.fixturenames)
            item.add_marker(pytest.mark.xdist_group("judged" if judged else item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What the tests load stays to the end."""
    atexit.register(gc.unfreeze)  # some libraries complain of what is left at the end
    with loading():
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process that the workers came from."""
    if _WORKERS in config.stash:
        config.stash[_WORKERS].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each check once for every set of chapters."""
    if "check" in metafunc.fixturenames and metafunc.definition.get_closest_marker("exercise"):
        names = metafunc.config.getoption("--code") or OWN_SETS
        metafunc.parametrize("check", names, ids=[Path(name).name for name in names])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Where the test is a check, let the judge run it; the verdict becomes the test's outcome."""
    marker = pyfuncitem.get_closest_marker("exercise")
    if marker is None or "check" not in pyfuncitem.fixturenames:
        return None
    try:
        from vitcourse.checking.report import next_step

        course = _course(pyfuncitem.config, str(pyfuncitem.callspec.params["check"]))
        verdict = course.verdict(exercise(marker.args[0]))
    except RequestError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except KeyboardInterrupt:
        raise pytest.exit.Exception(f"stopped while {marker.args[0]} was being checked", 2) from None
    if verdict.status in ("blocked", "not-started"):
        pytest.skip(verdict.headline)
    if verdict.status != "passed":
        seed = f"the inputs again: --seed {verdict.seed}" if verdict.seed else ""
        where = f"{verdict.file}, line {verdict.line}" if verdict.line else verdict.file
        then = next_step(verdict, course.code).replace("vitcourse ", f"{command()} ")
        lines = (where, verdict.headline, verdict.diagnosis, seed, then if course.code.is_own else "")
        pytest.fail("\n".join(line for line in lines if line), pytrace=False)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip points at the check and not at this file."""
    report = yield
    if report.skipped and item.get_closest_marker("exercise") and isinstance(report.longrepr, tuple):
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, report.longrepr[2])
    return report


def workers(config: pytest.Config) -> "Workers":
    """The workers of this run of pytest."""
    from vitcourse.checking.workers import Workers

    return config.stash.setdefault(_WORKERS, Workers())


def _course(config: pytest.Config, name: str) -> "Course":
    from vitcourse.checking.grading import Course
    from vitcourse.checking.judge import Judge

    courses = config.stash[_COURSES]
    if name not in courses:
        courses[name] = Course(load_code(name), Judge(workers(config), seed=config.getoption("--seed")))
    return courses[name]


_COURSES: pytest.StashKey[dict[str, "Course"]] = pytest.StashKey()
_CHECKS_ALONE: pytest.StashKey[bool] = pytest.StashKey()
_WORKERS: pytest.StashKey["Workers"] = pytest.StashKey()
