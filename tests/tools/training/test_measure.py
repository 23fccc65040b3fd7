"""What is measured beside the accuracy, and the list of runs."""

import json
from pathlib import Path

import pytest
import torch
from commands import Command
from small_runs import SMALL
from torch import nn

from vitcourse.data import Dataset
from vitcourse.training import preparation
from vitcourse.training.configuration import make_config
from vitcourse.training.measure import Answers, as_csv, measured_loss, outputs_of
from vitcourse.training.presets import option


def test_the_surest_mistakes_come_first_then_the_least_sure_right_answers() -> None:
    given = Answers(
        given=torch.tensor([0, 1, 2, 0, 1]),
        confidence=torch.tensor([0.9, 0.5, 0.8, 0.95, 0.6]),
        labels=torch.tensor([0, 0, 1, 2, 1]),
    )
    assert given.worst_first().tolist() == [3, 2, 1, 4, 0]
    table = given.confusion(3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert as_csv(table, ("a", "b,c", "d")).splitlines()[2] == '"b,c",0,1,1'


@pytest.mark.parametrize("loss", ["cross-entropy", "original"])
def test_the_loss_on_the_test_images_is_that_of_what_evaluate_saw(stripes: Dataset, loss: str) -> None:
    setup = preparation.prepare(make_config(patch_size=2, batch_size=7, dropout=0.0, loss=loss))
    model = setup.make_model()
    with outputs_of(model) as outputs:
        accuracy = setup.accuracy(model)
    with torch.no_grad():
        logits = model.eval()(setup.test_images)
    logits = logits.softmax(-1) if loss == "original" else logits
    expected = float(nn.functional.cross_entropy(logits, setup.test_labels))
    assert measured_loss(setup, outputs, accuracy) == pytest.approx(expected, rel=1e-5)
    # A learner's evaluate that goes another way gives no number rather than a wrong one.
    assert measured_loss(setup, [outputs[0][:30]], accuracy) is None
    assert measured_loss(setup, [], accuracy) is None
    assert measured_loss(setup, outputs, accuracy + 0.1) is None
    model(setup.test_images)
    assert len(outputs) == 1


@pytest.mark.usefixtures("stripes", "undrawn")
def test_the_runs_side_by_side(vitcourse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = vitcourse("runs")
    assert (nothing.code, nothing.err) == (2, "vitcourse: there is no run in runs/ yet; type: vitcourse train\n")
    assert json.loads(vitcourse("runs", "--json").out) == []
    elsewhere = vitcourse("runs", "mine")  # training would not make that one
    assert (elsewhere.code, "no run at mine; to see those in runs/, type: vitcourse runs" in elsewhere.err) == (2, True)
    assert vitcourse("train", *SMALL, "--epochs", "2", "--no-standardise", "--output", "runs/first").code == 0
    both = ("train", "seed", *SMALL, "--epochs", "1", "--loss", "both", "--output", "runs/two")
    assert vitcourse(*both).code == 0
    monkeypatch.setattr("vitcourse.training.train._keep", lambda *_: 1 / 0)  # dies when it is done
    with pytest.raises(ZeroDivisionError):
        vitcourse("train", *SMALL, "--epochs", "1", "--output", "runs/dead")
    vitcourse("runs")  # what the dead one said is read with it
    first, *parts, dead = json.loads(vitcourse("runs", "--json").out)
    assert (first["run"], first["preset"], first["finished"], first["resume"]) == ("first", "digits", True, None)
    assert first["changed"]["d_model"] == 12
    assert "device" not in first["changed"]
    assert (first["epochs_done"], first["epochs"], first["device"]) == (2, 2, "cpu")
    assert 0 <= first["accuracy"] <= 1 < 1 + first["loss"]
    assert [part["run"] for part in parts] == ["two/cross-entropy", "two/original"]
    assert (dead["finished"], dead["epochs_done"]) == (False, 1)
    assert dead["resume"] == "vitcourse train --resume --output runs/dead"
    for one, named in (("first", ["first"]), ("two", ["two/cross-entropy", "two/original"])):
        for word in (f"runs/{one}", one):
            assert [run["run"] for run in json.loads(vitcourse("runs", word, "--json").out)] == named
    monkeypatch.setenv("COLUMNS", "80")
    Path("runs/first").rename(f"runs/{'long-' * 9}")
    table = vitcourse("runs").out
    assert "long-" * 9 in "".join(line.strip().partition(" ")[0] for line in table.splitlines())
    assert [name for name in first["changed"] if option(name)[2:] not in table] == []  # no word is cut
    assert "--no-standardise" in table  # as it is typed
    assert max(map(len, table.partition("dead isn't")[0].splitlines())) <= 80
    Path("runs/dead/metrics.jsonl").write_text("[]\n")
    assert json.loads(vitcourse("runs", "dead", "--json").out)[0]["epochs_done"] == 0
    Path("runs/torn").mkdir()
    for torn in ("{", '{"preset": []}'):
        Path("runs/torn/config.json").write_text(torn)
        shown = vitcourse("runs")
        assert (shown.code, shown.err.count("\n")) == (0, 1)
        assert "runs/torn isn't shown: its config.json is not what" in shown.err
    assert f"{first['accuracy']:.2%}" in shown.out
    assert "dead isn't finished; to go on, type: vitcourse train --resume --output runs/dead" in shown.out
