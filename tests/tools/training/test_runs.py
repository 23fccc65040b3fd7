"""A run's folder: where it lies, how its files are written, and what is said when that fails."""

import errno
import json
import os
import re
from pathlib import Path

import pytest

from vitcourse.errors import RequestError
from vitcourse.files import write_file
from vitcourse.training.runs import Epoch, RunFolder, choose_folder, provenance, write_atomically


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    first = choose_folder(None, "digits", tmp_path)
    assert re.fullmatch(r"digits-\d{8}-\d{6}", first.path.name)
    assert not first.path.exists()
    folders = set()
    for _ in range(3):
        folder = choose_folder(None, "digits", tmp_path)
        folder.write("config.json", "{}")
        folders.add(folder.path)
    assert len(folders) == 3


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
    lines = (folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["accuracy"] for line in lines] == [0.5, 0.75]
    assert folder.files() == ["metrics.jsonl", "numbers.json", "text"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    write_atomically(file, b"old")

    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as opened:
            opened.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(RequestError, match="No space left on device; type --output"):
        RunFolder(tmp_path).write("weights", b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_and_leads_to_what_was_written(tmp_path: Path) -> None:
    file, link = tmp_path / "marks.csv", tmp_path / "link.csv"
    file.write_text("last term's")
    link.symlink_to(file.name)
    write_atomically(link, "new")
    assert (file.read_text(), link.is_symlink()) == ("new", True)
    write_atomically(link, "newest", follow=False)
    assert (file.read_text(), link.read_text(), link.is_symlink()) == ("new", "newest", False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes of this kind")
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, "größer")
        assert os.read(reader, 100).decode() == "größer"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_an_output_never_takes_the_place_of_python(tmp_path: Path) -> None:
    chapter = tmp_path / "ch01_patches.py"
    chapter.write_text("mine")
    with pytest.raises(RequestError, match="never overwritten; name a file in another folder"):
        write_file(chapter, "theirs")
    assert chapter.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="can't write"):
        RunFolder(tmp_path / "file" / "run").write("config.json", "{}")


def test_provenance_names_machine_versions_command_and_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/vitcourse", "train", "--data", "folder:my images"])
    told = provenance()
    assert told["command"] == "vitcourse train --data 'folder:my images'"
    assert told["machine"]["cpu"]
    assert told["machine"]["cores"] >= 1
    assert {"python", "torch", "vitcourse"} <= set(told["versions"])
    assert told["date"].endswith("+00:00")
