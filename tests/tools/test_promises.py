"""The map from promises to tests, README.md beside this file: each test of it is there, no file is left out."""

import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


def named() -> list[list[tuple[str, str]]]:
    """For each promise, the tests that hold it: file and name."""
    rows = [line for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [re.findall(r"`([\w./]+)::(test_\w+)`", row) for row in rows[1:]]


@cache
def defined(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE))


def test_each_promise_names_a_test_that_there_is() -> None:
    for number, tests in enumerate(named(), start=1):
        assert tests, f"promise {number}"
        for file, test in tests:
            assert test in defined(HERE / file), (file, test)


def test_each_file_of_tests_holds_a_promise() -> None:
    holding = {(HERE / file).resolve() for tests in named() for file, _ in tests}
    assert {*HERE.rglob("test_*.py")} - {Path(__file__)} <= holding
