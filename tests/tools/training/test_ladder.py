"""The ladder of speed-ups: every rung is measured in turns, and what a machine lacks is said."""

import json
from pathlib import Path

import pytest
from commands import Command
from small_runs import SMALL

from vitcourse.training import ladder
from vitcourse.training.configuration import make_config
from vitcourse.training.kernels import PARTS
from vitcourse.training.ladder import GROUND, RUNGS
from vitcourse.training.presets import TrainConfig


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "SECONDS_A_TURN", 0.01)


@pytest.mark.usefixtures("stripes", "uncompiled")
def test_every_rung_is_measured_or_says_why_not(vitcourse: Command, tmp_path: Path) -> None:
    done = vitcourse("bench", "steps", *SMALL, "--device=cpu", "--rounds=2", "--output=steps.json")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "steps.json").read_text(encoding="utf-8"))
    assert [rung["name"] for rung in record["rungs"]] == [name for name, _, _ in RUNGS]
    *measured, graphs, recorded = record["rungs"]
    assert all(rung["images_per_second"] > 0 and rung["missing"] is None for rung in measured)
    assert all(
        rung["milliseconds_per_step"] == pytest.approx(16_000 / rung["images_per_second"], rel=0.01)
        for rung in measured
    )
    for rung in (graphs, recorded):
        assert (rung["images_per_second"], rung["missing"]) == (None, "needs a GPU")
    assert record["provenance"]["command"].startswith("vitcourse bench steps")
    assert "needs a GPU" in done.out


def test_the_ladder_starts_with_nothing_and_ends_with_everything() -> None:
    settings = dict(GROUND)
    seen = [dict(settings)]
    for _, change, _ in RUNGS[1:]:
        assert change
        settings.update(change)
        seen.append(dict(settings))
    assert len({tuple(step.items()) for step in seen}) == len(RUNGS)
    assert settings == {
        "pipeline": "device", "sync": False, "fused": True, "kernels": "fused", "parts": PARTS, "amp": "bf16",
        "compile": "default", "graph": True,
    }  # fmt: skip
    del settings["parts"]  # a twin's, and no setting
    assert isinstance(make_config("digits", **settings), TrainConfig)


@pytest.mark.usefixtures("stripes", "no_compiler")
def test_a_compiler_that_is_not_there_costs_one_rung(vitcourse: Command) -> None:
    done = vitcourse("bench", "steps", *SMALL, "--device=cpu", "--rounds=1")
    assert done.code == 0, done.err
    assert "doesn't compile here: RuntimeError" in done.out


@pytest.mark.usefixtures("stripes")
def test_a_batch_larger_than_the_data_is_refused(vitcourse: Command) -> None:
    refused = vitcourse("bench", "steps", *SMALL, "--batch-size=91")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--batch-size 91 is more than the 90 training images" in refused.err
