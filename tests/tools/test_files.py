"""Files that a user names: a link, a device or a pipe stays what it is, and Python is never overwritten."""

import os
from pathlib import Path

import pytest

from vitcourse.errors import RequestError
from vitcourse.files import require_writable, write_atomically, write_file


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


def test_a_file_that_could_not_be_written_is_said_before_the_work_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.csv").write_text("last term's")
    before = sorted(tmp_path.rglob("*"))
    for file in (None, tmp_path / "new.csv", tmp_path / "old.csv", Path(os.devnull)):
        require_writable(file)
    for file, why in (("folder", "it is a folder"), ("gone/new.csv", "no folder"), ("old.csv/new.csv", "no folder")):
        with pytest.raises(RequestError, match=f"can't write .*{file}: .*{why}.*; name a file in another folder"):
            require_writable(tmp_path / file)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and os.path.exists(path))  # noqa: PTH110
    for file in ("new.csv", "old.csv"):
        with pytest.raises(RequestError, match="can't be written to"):
            require_writable(tmp_path / file)
    assert sorted(tmp_path.rglob("*")) == before
