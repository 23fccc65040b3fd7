"""What a command prints can be typed, and an end that nobody reads is no traceback."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vitcourse.places import root
from vitcourse.speech import Screen, command


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "vitcourse", "status"], cwd=root(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "No space left" in ended.stderr


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


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize("words", ["status", "status --json", "hint 9.9"])
def test_an_output_that_was_closed_before_is_no_traceback(words: str) -> None:
    shell = ["sh", "-c", f"'{sys.executable}' -m vitcourse {words} >&-"]
    ended = subprocess.run(shell, cwd=root(), stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == ((2, 1) if "9.9" in words else (0, 0)), ended.stderr
