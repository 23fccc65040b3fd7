"""The command line, called in this process."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from vitcourse import cli


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


# What comes of a command's words: `vitcourse("train", "--epochs", 3)`.
Command = Callable[..., Ended]


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> Ended:
    """What comes of a command's words."""
    monkeypatch.setattr(sys, "argv", ["vitcourse", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return Ended(int(ended.value.code or 0), *capsys.readouterr())
