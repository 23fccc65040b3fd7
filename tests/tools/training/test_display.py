"""How progress is shown: a live bar on a terminal, a plain line per epoch elsewhere."""

import io

import pytest
from rich.console import Console

from vitcourse.training.display import Display
from vitcourse.training.runs import Epoch


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


EPOCH = Epoch(3, 0.12345, 0.9812, 0.001, 2.0, 12345.6)


def test_a_pipe_gets_one_plain_line_per_epoch() -> None:
    out = io.StringIO()
    with Display(Console(file=out), epochs=15, steps=150) as display:
        assert display.disable
        assert not display.due()
        display.done(EPOCH, 30)
    assert out.getvalue() == "epoch  3/15  loss 0.1235  accuracy 98.12%  12,346 images/s  2.0 s\n"


def test_a_forced_colour_makes_no_live_bar_on_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Display(Console(file=io.StringIO()), 15, 150).disable


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert Display(Console(file=Terminal()), 15, 150).disable


def test_a_terminal_gets_a_bar_with_loss_accuracy_speed_and_time_left() -> None:
    out = Terminal()
    with Display(Console(file=out, width=100), epochs=15, steps=150) as display:
        assert not display.disable
        assert display.due()
        display.show(1, 5, 1.5, 4321.0)
        assert not display.due()
        display.done(EPOCH, 30)
    for figure in ("epoch 3/15", "loss 0.123", "accuracy 98.1%", "12,346 images/s", "left"):
        assert figure in out.getvalue()
