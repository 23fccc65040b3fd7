"""What the tests of the judge share: a place of its own for what is noted of a learner."""

from pathlib import Path

import pytest

from vitcourse.checking import state


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the course's own notes on a learner, which isn't there yet."""
    monkeypatch.setattr(state, "_folder", lambda: tmp_path / "state")
    return tmp_path / "state"
