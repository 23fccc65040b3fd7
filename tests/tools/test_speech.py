"""What is printed, on consoles of any encoding and kind: plain letters in place of a traceback, and JSON as ever."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitcourse.cli import app, main
from vitcourse.course import exercises
from vitcourse.speech import PLAINLY, plain

# Encodings of consoles as they are met, Windows' and others', and kinds of terminals.
ENCODINGS = [
    *("ascii", "latin-1", "cp437", "cp850", "cp1251", "cp1252", "cp932", "gbk", "euc_kr", "koi8_r", "utf-8", "utf-16"),
]
TERMINALS = [{}, {"TERM": "dumb"}, {"NO_COLOR": "1", "COLUMNS": "24"}, {"FORCE_COLOR": "1", "COLUMNS": "300"}]


class Console:
    """The command line in this process, on a console of some encoding."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def type(self, encoding: str, *words: str) -> tuple[int, bytes]:
        """Exit code, and what was printed. Anything but an exit of the command's own is raised."""
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        self.monkeypatch.setattr(sys, "argv", ["vitcourse", *words])
        self.monkeypatch.setattr(sys, "stdout", streams[0])
        self.monkeypatch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as end:
            main()
        for stream in streams:
            stream.flush()
        return int(end.value.code or 0), b"".join(stream.buffer.getvalue() for stream in streams)


@pytest.fixture
def console(one_process: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Console:
    """With a learner's folder as the current one."""
    return Console(monkeypatch)


def commands(everything: bool) -> Iterator[list[str]]:
    for exercise in exercises() if everything else exercises()[::7]:
        yield from (["hint", exercise.id], ["hint", exercise.id], ["hint", exercise.id])
        yield ["solution", exercise.id, "--give-up"]
    yield from (["status"], ["reset", "1"], ["undo"], ["update"], ["runs"], ["hint", "1·1"], ["init", "∑"])
    if everything:
        yield from (["doctor"], ["solution", "1.1"], ["submit"], ["notebook", "1"], ["predict", "…"], ["check", "√"])


def test_help_is_in_plain_letters(console: Console) -> None:
    # What writes it takes an ASCII console for one that was set up wrongly, and writes UTF-8 there.
    for command in app.registered_commands:
        word = command.name or command.callback.__name__.replace("_", "-")
        code, printed = console.type("ascii", word, "--help")
        assert code == 0
        assert printed.isascii(), word


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_command_fails_for_want_of_a_letter(
    encoding: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcourse.doctor._torchvision", lambda: iter(()))
    for number, words in enumerate(commands(everything=encoding == "ascii")):
        for name, value in TERMINALS[number % len(TERMINALS)].items():
            monkeypatch.setenv(name, value)
        code, printed = console.type(encoding, *words)
        assert code in (0, 1, 2), words
        assert "Traceback" not in printed.decode(encoding), (words, printed)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_trace_fails_for_want_of_a_letter(encoding: str, console: Console) -> None:
    for asked in ("1.3", "3.4"):
        code, printed = console.type(encoding, "trace", asked, "--code", "solutions")
        assert code == 0
        assert "(B=" in printed.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_json_is_utf_8_everywhere(encoding: str, console: Console) -> None:
    code, printed = console.type(encoding, "check", "1.1", "--json")
    assert code == 0
    assert json.loads(printed.decode("utf-8"))[0]["status"] == "not-started"
    code, printed = console.type(encoding, "trace", "1.1", "--code", "solutions", "--json")
    assert "C·P·P" in printed.decode("utf-8")
    json.loads(printed.decode("utf-8"))


def test_what_a_console_lacks_is_said_in_plain_letters_and_nothing_else() -> None:
    text = "(B, N, C·P·P) → x/√dh … ½ · é 日 \udcff"
    assert text.encode("ascii", PLAINLY) == b"(B, N, C*P*P) -> x/sqrt dh ... 1/2 * e ? ?"
    assert text.encode("cp1252", PLAINLY) == "(B, N, C·P·P) -> x/sqrt dh … ½ · é ? ?".encode("cp1252")
    assert text[:-1].encode("utf-8", PLAINLY) == text[:-1].encode()


def test_every_letter_of_the_course_has_a_plain_one() -> None:
    from vitcourse.places import package, root

    texts = [*package().rglob("*.py"), *package().glob("*.toml"), *(root() / "solutions").glob("*.py")]
    letters = {letter for file in texts for letter in file.read_text(encoding="utf-8") if not letter.isascii()}
    lacking = {letter for letter in letters if "?" in plain(letter)}
    assert not lacking
