"""What a command prints can be typed, and an end that nobody reads is no traceback."""

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended
from rich.console import Console

from vitcourse import __version__, speech
from vitcourse.__main__ import main
from vitcourse.places import root
from vitcourse.speech import Screen, command, speak_plainly


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type vitcourse hint 1.1, or vitcourse trace", "type uv run vitcourse hint 1.1, or uv run vitcourse trace"),
        ("type: uv run vitcourse check", "type: uv run vitcourse check"),
        ("vitcourse: there is no run", "vitcourse: there is no run"),
        ("it is not what vitcourse wrote", "it is not what vitcourse wrote"),
        ("for help, type: vitcourse --help", "for help, type: uv run vitcourse --help"),
        ("/home/vitcourse check", "/home/vitcourse check"),
        ("vitcourse hinted", "vitcourse hinted"),
    ],
)  # fmt: skip
def test_commands_are_printed_as_they_have_to_be_typed(text: str, expected: str) -> None:
    screen = io.StringIO()
    Screen(screen, "uv run vitcourse", ["hint", "trace", "check"]).write(text)
    assert screen.getvalue() == expected


def test_how_a_command_was_called_tells_how_to_call_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/venv/bin/vitcourse"])
    assert command() == "/venv/bin/vitcourse"
    installed = tmp_path / "vitcourse"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    assert command() == "vitcourse"
    monkeypatch.setattr(sys, "argv", ["/somewhere/vitcourse/__main__.py"])
    assert command() == "python -m vitcourse"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command() == "uv run vitcourse"


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix; Windows deletes no folder that one is in")
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("vitcourse status > /dev/full", 1, "No space left"),
        ("vitcourse status >&-", 0, ""),
        ("vitcourse status --json >&-", 0, ""),
        ("vitcourse hint 9.9 >&-", 2, "there is no exercise 9.9"),
        ("mkdir gone; cd gone; rmdir ../gone; vitcourse init ../other", 1, "the folder that you are in is gone"),
    ],
)
def test_where_nothing_can_be_written_at_most_a_line_is_said(script: str, code: int, said: str, tmp_path: Path) -> None:
    if "/dev/full" in script and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    shell = ["sh", "-c", script.replace("vitcourse", f"'{sys.executable}' -m vitcourse")]
    ended = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, bool(said)), ended.stderr
    assert said in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
def test_a_closed_pipe_ends_the_command_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "vitcourse", "status"]
        ended = subprocess.run(command, cwd=root(), stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert ended.stderr == ""
    assert ended.returncode == -13  # SIGPIPE: a shell says 141, as of cat or grep


def test_ctrl_c_while_a_command_is_loading_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loading:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "vitcourse.cli", Loading())
    with pytest.raises(SystemExit, match="130"):
        main()


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("1", 80), ("47", 47)])
def test_a_terminal_without_a_width_is_written_to_all_the_same(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    speak_plainly()
    assert Console(file=io.StringIO()).width == width


def test_without_a_temporary_folder_it_is_not_said_that_the_folder_is_gone() -> None:
    said = speech._advice(FileNotFoundError(errno.ENOENT, "No usable temporary directory found"))
    assert "TMPDIR" in said
    assert "gone" not in said


def test_the_version_is_said_and_nothing_else(type_in: Callable[..., Ended]) -> None:
    assert type_in("--version") == (0, f"vitcourse {__version__}\n", "")
