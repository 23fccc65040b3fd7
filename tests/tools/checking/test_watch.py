"""`vitcourse watch`: a verdict at every save, whatever the editor does, from processes that start warm."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answers import answered
from rich.console import Console

from vitcourse.checking import state
from vitcourse.checking.judge import Judge, Verdict
from vitcourse.checking.watch import AGAIN, Desk, Saves, is_started_or_broken
from vitcourse.checking.workers import Workers
from vitcourse.codesets import CodeSet
from vitcourse.course import select
from vitcourse.places import root
from vitcourse.stubs import write_stubs

JUDGE = Judge(Workers())  # no worker is started where nothing is asked
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


@pytest.fixture
def code(tmp_path: Path, notes: Path) -> CodeSet:
    """A learner's stubs in a folder of their own, and a state folder beside it."""
    write_stubs(tmp_path / "chapters")
    return CodeSet("chapters", tmp_path / "chapters", "unused")


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)


@pytest.fixture
def seen(code: CodeSet, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What Saves tells of the folder, as it comes."""
    found: list[list[str]] = []
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", getattr(request, "param", ""))
    saves = Saves(code)

    def read() -> None:
        for modules in saves.each():
            if modules == ["ch05_vit"]:
                return
            found.append(modules)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.3)
    yield found
    code.file("ch05_vit").write_text("the end", encoding="utf-8")
    reader.join(10)
    assert not reader.is_alive()


@pytest.mark.parametrize("seen", ["", "true"], indirect=True, ids=["events", "polling"])
def test_every_way_of_saving_is_seen_once(code: CodeSet, seen: list[list[str]]) -> None:
    file = code.file("ch02_tokens")
    file.write_text("one", encoding="utf-8")
    wait_for(lambda: len(seen) == 1)
    beside = file.with_name("4913~")  # as editors do: aside, and another file in its place
    beside.write_text("two", encoding="utf-8")
    file.unlink()
    time.sleep(0.2)
    beside.rename(file)
    wait_for(lambda: len(seen) == 2)
    (code.folder / "notes.txt").write_text("no chapter", encoding="utf-8")
    time.sleep(0.3)
    assert seen == [["ch02_tokens"]] * 2


def test_a_file_that_stays_away_is_told_once_and_again_when_it_is_back(code: CodeSet, seen: list[list[str]]) -> None:
    file = code.file("ch02_tokens")
    file.unlink()
    wait_for(lambda: seen == [["ch02_tokens"]])
    time.sleep(1.5)
    file.symlink_to("nowhere.py")  # as little as no file
    time.sleep(0.3)
    assert seen == [["ch02_tokens"]]
    file.unlink()
    file.write_text("back", encoding="utf-8")
    wait_for(lambda: seen == [["ch02_tokens"]] * 2)


def test_of_chapters_that_are_gone_each_has_a_line_that_says_what_to_type(code: CodeSet) -> None:
    screen = io.StringIO()
    desk = Desk(code, None, JUDGE, Console(file=screen, width=23))
    code.file("ch02_tokens").unlink()
    code.file("ch03_attention").unlink()
    code.file("ch03_attention").symlink_to("nowhere.py")
    desk.gone(["ch02_tokens", "ch03_attention"])
    first, second = screen.getvalue().splitlines()
    assert "ch02_tokens.py is missing" in first
    assert "vitcourse reset 2" in first
    assert "ch03_attention.py is a link to" in second
    assert "vitcourse reset 3" in second


def test_a_burst_of_saves_is_one(code: CodeSet, seen: list[list[str]]) -> None:
    for number in range(60):
        code.file("ch01_patches").write_text(f"{number}", encoding="utf-8")
        code.file("ch03_attention").write_text(f"{number}", encoding="utf-8")
        time.sleep(0.002)
    wait_for(lambda: seen)
    time.sleep(0.3)
    assert len(seen) < 20  # a few; each by itself they are more than 50
    assert {module for modules in seen for module in modules} == {"ch01_patches", "ch03_attention"}


def test_a_save_is_seen_without_any_event(code: CodeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*paths: object, **options: object) -> Iterator[object]:
        raise RuntimeError("no inotify watches left")
        yield

    monkeypatch.setattr("watchfiles.watch", broken)
    saves = Saves(code)
    code.file("ch04_encoder").write_text("saved while torch was loading", encoding="utf-8")
    assert next(saves.each()) == ["ch04_encoder"]


def test_the_verdicts_end_at_the_first_that_is_not_done_and_are_kept(
    code: CodeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [Verdict("1.1", "passed", ""), Verdict("1.2", "failed", "wrong"), Verdict("1.3", "passed", "")]
    monkeypatch.setattr(state, "grade", lambda *_, **__: verdicts)
    screen = io.StringIO()
    shown = Desk(code, None, JUDGE, Console(file=screen)).check(select("1"))
    assert [verdict.exercise for verdict in shown] == ["1.1", "1.2"]
    assert "failed       1.2" in screen.getvalue()
    assert "verdict at " in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
    assert set(state.read_state("verdicts.json")) == {"1.1", "1.2", "1.3"}
    assert len(Desk(code, select("1"), JUDGE, Console(file=screen)).check(select("1"))) == 3


def test_verdicts_on_what_was_edited_meanwhile_are_not_kept(code: CodeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> list[Verdict]:
        code.file("ch01_patches").write_text("edited during the check", encoding="utf-8")
        return [Verdict("1.1", "passed", "")]

    monkeypatch.setattr(state, "grade", slow)
    Desk(code, None, JUDGE, Console(file=io.StringIO())).check(select("1.1"))
    assert state.read_state("verdicts.json") == {}


def test_a_file_that_is_no_text_ends_nothing(code: CodeSet) -> None:
    code.file("ch01_patches").write_bytes(b"\xff\xfe\x00")
    assert is_started_or_broken(code, select("1.1")[0])
    screen = io.StringIO()
    assert Desk(code, None, JUDGE, Console(file=screen, width=200)).check(select("1.1")) == []
    assert "could not check:" in screen.getvalue()


@forks
def test_a_save_ends_a_check_that_hangs_and_what_was_edited_before_is_checked_too(
    code: CodeSet, workers: Workers, uncaused: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, screen, waits = Saves(code), io.StringIO(), []
    desk = Desk(code, None, Judge(workers, timeout=20), Console(file=screen, width=100))

    def look() -> None:
        waits.append("for an answer")
        if len(waits) == 2:  # of the chapter that loads without an end
            code.file("ch02_tokens").write_text(wrong["ch02_tokens"], encoding="utf-8")
        files.look()

    monkeypatch.setattr(workers, "look", look)
    wrong = answered(prepend_cls="return tokens", gelu="return x")
    code.file("ch04_encoder").write_text(wrong["ch04_encoder"], encoding="utf-8")
    code.file("ch02_tokens").write_text(wrong["ch02_tokens"] + "while True:\n    pass\n", encoding="utf-8")
    saves = files.each()
    desk.saved(next(saves))
    assert "timeout" not in screen.getvalue()
    desk.saved(next(saves))
    assert re.findall(r"^failed +(\d\.\d)", screen.getvalue(), re.MULTILINE) == ["2.1", "4.2"], screen.getvalue()


@pytest.mark.thorough
@forks
def test_the_watch_itself_from_start_to_ctrl_c(code: CodeSet, tmp_path: Path) -> None:
    code.file("ch04_encoder").write_text(answered(gelu="return x * 0")["ch04_encoder"], encoding="utf-8")
    program = (
        "import signal; from pathlib import Path; from vitcourse.checking import state, watch\n"
        # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from vitcourse.codesets import load_code; from rich.console import Console\n"
        f"state._folder = lambda: Path({str(tmp_path / 'state')!r})\n"
        f"watch.watch(load_code({str(code.folder)!r}), None, Console(width=100))\n"
    )
    screen = tmp_path / "screen.txt"
    with screen.open("w", encoding="utf-8") as file:
        process = subprocess.Popen([sys.executable, "-u", "-c", program], cwd=root(), stdout=file, stderr=file)
    try:
        wait_for(lambda: "Ctrl-C to end" in screen.read_text(encoding="utf-8"), 40)
        first = screen.read_text(encoding="utf-8")
        assert "4.2  GELU" in first
        right = answered(gelu="return x * 0.5 * (1 + torch.erf(x / 2**0.5))")["ch04_encoder"]
        code.file("ch04_encoder").write_text(right, encoding="utf-8")
        wait_for(lambda: screen.read_text(encoding="utf-8").count("verdict at") == 2)
        assert "passed       4.2  GELU" in screen.read_text(encoding="utf-8")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert "no longer watching" in screen.read_text(encoding="utf-8")
    assert "Traceback" not in screen.read_text(encoding="utf-8")


def test_the_trace_that_a_key_shows_names_commands_as_the_watch_does(tmp_path: Path) -> None:
    called = str(tmp_path / "bin" / "vitcourse")
    environment = {name: value for name, value in os.environ.items() if name != "UV_RUN_RECURSION_DEPTH"}
    command = [sys.executable, "-c", AGAIN, called, "trace", "--help-me"]
    done = subprocess.run(command, cwd=root(), env=environment | {"PATH": ""}, capture_output=True, text=True)
    assert (done.returncode, f"type: {called} trace --help" in done.stderr) == (2, True), done.stderr
