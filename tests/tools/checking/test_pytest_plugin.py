"""What a learner types at pytest: chapters/ and its files are their checks, and a wrong word is no traceback."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vitcourse.checking import pytest_plugin


def config_of(root: Path, *args: str, where: str = "") -> Any:
    """What the plugin asks of pytest's configuration, in a clone at root."""
    return SimpleNamespace(
        rootpath=root,
        invocation_params=SimpleNamespace(dir=root / where),
        args=list(args),
        option=SimpleNamespace(code=None),
        stash={},
        addinivalue_line=lambda *_: None,
        getoption=lambda _: None,
    )


@pytest.mark.parametrize(
    ("args", "where", "checks"),
    [
        (["chapters"], "", ["test_ch1_one.py", "test_ch2_two.py"]),
        (["chapters/ch2_two.py"], "", ["test_ch2_two.py"]),
        (["ch2_two.py"], "chapters", ["test_ch2_two.py"]),
        (["chapters/ch2_two.py", "chapters/ch1_one.py"], "", ["test_ch2_two.py", "test_ch1_one.py"]),
    ],
)
def test_a_chapter_stands_for_its_checks(tmp_path: Path, args: list[str], where: str, checks: list[str]) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "chapters").mkdir()
    for name in ("ch1_one", "ch2_two"):
        (tmp_path / "tests" / f"test_{name}.py").touch()
    config = config_of(tmp_path, *args, where=where)
    pytest_plugin.pytest_configure(config)
    assert [Path(arg).name for arg in config.args] == checks
    assert config.option.code == ["chapters"]


@pytest.mark.parametrize("args", [["tests"], ["chapters/ch3.py"], ["chapters", "tests/test_other.py"], ["."], []])
def test_anything_else_is_left_as_it_was_typed(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_ch1_one.py").touch()
    config = config_of(tmp_path, *args)
    pytest_plugin.pytest_configure(config)
    assert (config.args, config.option.code) == (args, None)


def test_chapters_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    pytest_plugin.pytest_configure(config)
    marked: Any = SimpleNamespace(
        get_closest_marker=lambda _: SimpleNamespace(args=["1.1"]),
        fixturenames=["check"],
        callspec=SimpleNamespace(params={"check": str(tmp_path / "nowhere")}),
        config=config,
    )
    with pytest.raises(pytest.fail.Exception, match="there is no set of chapters") as failed:
        pytest_plugin.pytest_pyfunc_call(marked)
    assert not failed.value.pytrace
    pytest_plugin.pytest_unconfigure(config)
