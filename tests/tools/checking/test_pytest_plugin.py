"""What a learner types at pytest: chapters/ and its files are their checks, and a wrong word is no traceback."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vitcourse.checking import pytest_plugin
from vitcourse.course import chapters
from vitcourse.places import root
from vitcourse.stubs import init, write_stubs


def config_of(folder: Path, *args: str, where: str = ".") -> Any:
    """Pytest's configuration, when the plugin has seen it, in a folder that holds chapters/; where it was typed."""
    config = SimpleNamespace(
        rootpath=folder,
        invocation_params=SimpleNamespace(dir=(folder / where).resolve()),
        args=list(args),
        option=SimpleNamespace(code=None),
        stash={},
        addinivalue_line=lambda *_: None,
        getoption=lambda _: None,
    )
    pytest_plugin.pytest_configure(config)
    return config


@pytest.mark.parametrize(
    ("args", "where", "checks"),
    [
        (["chapters"], ".", [f"test_{chapter.module}.py" for chapter in chapters()]),
        (["chapters/ch02_tokens.py"], ".", ["test_ch02_tokens.py"]),
        (["ch02_tokens.py"], "chapters", ["test_ch02_tokens.py"]),
        (["chapters/ch02_tokens.py", "chapters/ch01_patches.py"], ".", ["test_ch02_tokens.py", "test_ch01_patches.py"]),
    ],
)
def test_a_chapter_stands_for_its_checks(tmp_path: Path, args: list[str], where: str, checks: list[str]) -> None:
    config = config_of(tmp_path, *args, where=where)
    assert config.args == [str(root() / "tests" / check) for check in checks]
    assert config.option.code == ["chapters"]


def test_chapters_that_are_named_from_elsewhere_are_those_that_are_checked(tmp_path: Path) -> None:
    config = config_of(tmp_path / "mine", "mine/chapters", where="..")
    assert config.option.code == [str(tmp_path / "mine" / "chapters")]


@pytest.mark.parametrize("args", [["tests"], ["chapters/ch3.py"], ["chapters", "tests/test_other.py"], ["."], []])
def test_anything_else_is_left_as_it_was_typed(tmp_path: Path, args: list[str]) -> None:
    config = config_of(tmp_path, *args)
    assert (config.args, config.option.code) == (args, None)


@pytest.mark.thorough
def test_in_a_folder_of_init_pytest_checks_what_is_there(tmp_path: Path) -> None:
    init(tmp_path)
    words = [sys.executable, "-m", "pytest", "chapters/ch02_tokens.py"]
    run = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert "exercise 2.1 not started" in run.stdout
    assert (run.returncode, "warning" in run.stdout) == (0, False), run.stdout


def test_chapters_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="there is no set of chapters") as failed:
        pytest_plugin.pytest_pyfunc_call(marked(config, "1.1", str(tmp_path / "nowhere")))
    assert not failed.value.pytrace
    pytest_plugin.pytest_unconfigure(config)


def test_a_chapter_that_is_gone_says_what_brings_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stubs(tmp_path / "chapters", ["ch01_patches"])
    monkeypatch.chdir(tmp_path)
    config = config_of(tmp_path)
    with pytest.raises(pytest.fail.Exception, match=r"(?m)^next: .*vitcourse reset 3, for its stubs$"):
        pytest_plugin.pytest_pyfunc_call(marked(config, "3.1", "chapters"))
    pytest_plugin.pytest_unconfigure(config)


def test_ctrl_c_says_which_exercise_was_being_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    config = config_of(tmp_path)
    monkeypatch.setattr(pytest_plugin, "_course", pressed)
    with pytest.raises(pytest.exit.Exception, match=r"stopped while 3\.1 "):
        pytest_plugin.pytest_pyfunc_call(marked(config, "3.1", "chapters"))


def marked(config: Any, id: str, code: str) -> Any:
    """The check of an exercise on a set of chapters, as pytest has it."""
    return SimpleNamespace(
        get_closest_marker=lambda _: SimpleNamespace(args=[id]),
        fixturenames=["check"],
        callspec=SimpleNamespace(params={"check": code}),
        config=config,
    )
