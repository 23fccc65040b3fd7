"""Where a system can't fork: the same verdicts, each from a process that was started for it alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import answered

from vitcourse.checking import workers
from vitcourse.checking.grading import grade
from vitcourse.checking.judge import Judge
from vitcourse.checking.workers import Workers
from vitcourse.codesets import load_code
from vitcourse.course import select
from vitcourse.stubs import write_stubs

RIGHT = "return x * 0.5 * (1 + torch.erf(x / 2**0.5))"


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers of a system that can't fork."""
    monkeypatch.setattr(workers, "FORKS", False)
    with Workers() as found:
        yield found


def test_verdicts_are_the_same_the_wall_stands_and_nothing_stays(spawned: Workers, tmp_path: Path) -> None:
    reads = f"print('seen')\n    return x + len(open({os.fspath(workers.__file__)!r}).read())"
    write_stubs(tmp_path)
    verdicts = []
    for body in (RIGHT, reads):
        (tmp_path / "ch04_encoder.py").write_text(answered(gelu=body)["ch04_encoder"], encoding="utf-8")
        verdicts += grade(load_code(tmp_path), select("4.2"), Judge(spawned))
    assert [verdict.status for verdict in verdicts] == ["passed", "error"], verdicts
    assert "can't read" in f"{verdicts[1].headline}\n{verdicts[1].diagnosis}"
    assert "seen" in verdicts[1].diagnosis
    waiting = spawned._process
    assert waiting is not None
    assert waiting not in spawned._running
    spawned.close()
    assert waiting.has_ended()
