"""Ctrl-C as a wish: the first is noted, the third interrupts, and afterwards all is as before."""

import signal
import threading

import pytest

from vitcourse.training.checkpoints import StopOnInterrupt

pytestmark = pytest.mark.usefixtures("attended")


def test_the_first_is_noted_the_second_changes_nothing_and_the_third_interrupts() -> None:
    with StopOnInterrupt() as stop:
        assert not stop.requested
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("presses", [0, 1])
def test_afterwards_ctrl_c_is_what_it_was(presses: int) -> None:
    with StopOnInterrupt():
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_leaves_signals_alone() -> None:
    seen = []

    def run() -> None:
        with StopOnInterrupt() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]
