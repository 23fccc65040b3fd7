"""A run's folder: where it lies, and what its files hold."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import metrics

from vitcourse.errors import RequestError
from vitcourse.training.runs import Epoch, RunFolder, choose_folder, provenance


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    first = choose_folder(None, "digits", tmp_path)
    assert re.fullmatch(r"digits-\d{8}-\d{6}", first.path.name)
    assert not first.path.exists()
    # Three that were typed in the same second.
    chosen = [choose_folder(None, "digits", tmp_path) for _ in range(3)]
    folders = {folder.begun().path for folder in chosen}
    assert len(folders) == 3
    assert all(folder.is_dir() for folder in folders)


def test_of_two_runs_that_begin_in_one_folder_the_later_is_refused(tmp_path: Path) -> None:
    first, second = (choose_folder(tmp_path / "run", "digits") for _ in range(2))
    assert not first.path.exists()
    first.begun().write("config.json", "{}")
    with pytest.raises(RequestError, match="is there already and not empty; type --output with another name"):
        second.begun()
    assert replace(second, writes=False).begun().path == second.path, "another process of the first run"


def test_a_folder_with_a_run_in_it_is_refused(tmp_path: Path) -> None:
    assert choose_folder(tmp_path, "digits").path == tmp_path
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(RequestError, match="type --output with another name"):
        choose_folder(tmp_path, "digits")
    with pytest.raises(RequestError, match="type --output with another name"):
        choose_folder(tmp_path / "result.json", "digits")


def test_files_are_as_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.write("text", "größer")
    folder.write_json("numbers.json", {"×": [1, 2.5]})
    folder.write_epochs([Epoch(1, 2.0, 0.5, 0.1, 1.0, 100.0), Epoch(2, 1.0, 0.75, 0.1, 1.0, 100.0)])
    assert (folder.path / "text").read_text(encoding="utf-8") == "größer"
    assert json.loads((folder.path / "numbers.json").read_text(encoding="utf-8")) == {"×": [1, 2.5]}
    assert [epoch["accuracy"] for epoch in metrics(folder.path)] == [0.5, 0.75]
    assert sorted(file.name for file in folder.path.iterdir()) == ["metrics.jsonl", "numbers.json", "text"]


def test_the_result_of_a_run_from_before_a_line_was_added_is_still_read(tmp_path: Path) -> None:
    """What result.json held in the first version: a field of Result that is added needs a default."""
    epoch = {"epoch": 1, "loss": 2.0, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 3.0, "images_per_second": 30.0}
    times = {"cpu_seconds": 5.0, "wall_seconds": 7.0, "epochs": [epoch], "provenance": {}}
    measured = {"accuracy": 0.5, "measured_on": "test images", "n_measured": 11, "finished": True}
    folder = RunFolder(tmp_path)
    folder.write_json("result.json", {**measured, "steps": 13, "parameters": 17, "device": "cpu", **times})
    assert folder.result is not None, "a field of Result, or of Epoch, that isn't in an older file has no default"
    assert folder.result.epochs == [Epoch(1, 2.0, 0.5, 0.1, 3.0, 30.0)]


def test_provenance_names_machine_versions_command_and_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/vitcourse", "train", "--data", "folder:my images"])
    told = provenance()
    assert told["command"] == "vitcourse train --data 'folder:my images'"
    assert told["machine"]["cpu"]
    assert told["machine"]["cores"] >= 1
    assert {"python", "torch", "vitcourse"} <= set(told["versions"])
    assert told["date"].endswith("+00:00")
