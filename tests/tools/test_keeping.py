"""`vitcourse reset`, `undo` and `solution`: the stub comes back, and nothing that a learner wrote is ever lost."""

import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended
from rich.console import Console

from vitcourse import codesets, keeping
from vitcourse.checking import state
from vitcourse.checking.grading import Verdict
from vitcourse.checking.report import print_code
from vitcourse.codesets import CodeSet
from vitcourse.definitions import definition, with_definitions
from vitcourse.places import root
from vitcourse.progress import is_started
from vitcourse.stubs import pristine, write_stubs
from vitcourse.worker.started import definitions

STUB = pristine("ch01_patches")
MINE = '''"""My notes."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

SIZE = 7  # mine


def helper(x):
    return x  # keep me


# Exercise 1.1


@torch.no_grad()
def patchify(images, patch_size):
    return helper(images)

# a thought about 1.2
def unpatchify(patches, patch_size, grid, channels):
    return patches


class PatchEmbedding(nn.Module):
    pass


def conv_to_linear(conv):
    return conv
'''


class Desk:
    """A course in a folder of its own, its command line in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, type_in: Callable[..., Ended]) -> None:
        self.code = CodeSet("chapters", folder / "chapters", "unused")
        self.state = folder / ".vitcourse"
        self.file = self.code.file("ch01_patches")
        self.monkeypatch, self.type = monkeypatch, type_in

    def write(self, text: str) -> None:
        self.file.write_bytes(text.encode())

    def read(self) -> str:
        return self.file.read_bytes().decode()

    def kept(self) -> list[str]:
        return [version.path.read_bytes().decode() for version in keeping.versions(self.state / "kept")]

    def files(self) -> list[str]:
        return sorted(str(path) for path in self.state.parent.rglob("*") if path.is_file())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Callable[..., Ended]) -> Desk:
    write_stubs(tmp_path / "chapters")
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path, monkeypatch, type_in)
    desk.write(MINE)
    return desk


def test_an_exercise_is_put_back_and_the_rest_stays(desk: Desk) -> None:
    code, out, _ = desk.type("reset", "1.1")
    assert code == 0
    assert "exercise 1.1 is as it was given" in out
    assert "vitcourse undo" in out
    after = desk.read()
    assert definition(after, "patchify") == definition(STUB, "patchify")
    before = MINE[MINE.index("@torch") : MINE.index("\n\n# a thought")]
    assert after == MINE.replace(before, definition(STUB, "patchify"))
    assert not is_started(desk.code, codesets.chapters()[0].exercises[0])
    assert desk.kept() == [MINE]


def test_a_chapter_is_put_back_and_helpers_stay(desk: Desk) -> None:
    assert desk.type("reset", "1")[0] == 0
    after = desk.read()
    for name in ("patchify", "unpatchify", "PatchEmbedding", "conv_to_linear"):
        assert definition(after, name) == definition(STUB, name)
    assert "return x  # keep me" in after
    assert "# a thought about 1.2" in after
    assert desk.kept() == [MINE]


def test_what_is_pristine_stays_untouched(desk: Desk) -> None:
    desk.write(STUB)
    before = desk.file.stat().st_mtime_ns
    for word in ("1.2", "1"):
        code, out, _ = desk.type("reset", word)
        assert (code, desk.read(), desk.kept()) == (0, STUB, [])
        assert "already" in out
    assert desk.file.stat().st_mtime_ns == before


def test_undo_goes_back_step_by_step(desk: Desk) -> None:
    states = [desk.read()]
    for what in ("1.1", "1.3", "1"):
        desk.type("reset", what)
        states.append(desk.read())
    assert len(set(states)) == 4
    for what, expected in zip(("1", "1.3", "1.1"), states[2::-1], strict=True):
        code, out, _ = desk.type("undo")
        assert (code, desk.read()) == (0, expected)
        assert f"before reset {what} (" in out
    assert desk.type("undo")[0] == 2
    assert set(desk.kept()) == set(states)


def test_what_an_undo_replaces_is_kept_and_the_next_goes_further_back(desk: Desk) -> None:
    desk.type("reset", "1.1")
    stubbed = desk.read()
    desk.write(stubbed + "\nEDITED = 1\n")
    desk.type("reset", "1.3")
    assert desk.type("undo")[0] == 0
    assert desk.read() == stubbed + "\nEDITED = 1\n"
    code, out, _ = desk.type("undo")
    assert (code, desk.read()) == (0, MINE)
    kept = desk.state / "kept" / Path(out.split()[-1]).name
    assert kept.read_text() == stubbed + "\nEDITED = 1\n"
    desk.type("reset", "1.3")
    assert desk.type("undo")[0] == 0
    assert desk.read() == MINE


def test_odd_files_among_the_kept_ones_are_passed_over(desk: Desk) -> None:
    desk.type("reset", "1.1")
    kept = desk.state / "kept"
    for name in ("x.py", "0009--yesterday--ch01_patches--undo.py", "0009--20260101T000000.0--ch99_no--undo.py"):
        (kept / name).write_text("x = 1\n")
    (kept / "0009--20260101T000000.0--ch01_patches--undo.py").mkdir()
    assert desk.type("undo")[0] == 0
    assert desk.read() == MINE


def test_undo_also_brings_back_what_was_deleted(desk: Desk) -> None:
    desk.type("reset", "1.1")
    desk.file.unlink()
    assert desk.type("undo")[0] == 0
    assert desk.read() == MINE


def test_nothing_to_undo_is_one_line(desk: Desk) -> None:
    for before in ([], ["reset", "1.1"]):
        if before:
            desk.type(*before)
            desk.write(MINE)
        code, out, err = desk.type("undo")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "nothing to undo" in err
    assert desk.read() == MINE


CONFLICT = MINE.replace("\n\n# a thought", "\n<<<<<<< HEAD\n=======\n>>>>>>> theirs\n\n# a thought")


NO_PYTHON = {
    "SyntaxError: invalid syntax": MINE.encode() + b"def oops(:\n",
    "a merge conflict": CONFLICT.encode(),
    "null bytes": MINE.encode() + b"\0",
    "not a UTF-8 text file": b"x = 1\n# caf\xe9\n",
    "nested too deeply": MINE.encode() + b"x = " + b"-" * 100_000 + b"1\n",
}


@pytest.mark.parametrize("said", NO_PYTHON)
def test_what_is_no_python_is_called_what_it_is_and_is_reset_as_a_whole_only(desk: Desk, said: str) -> None:
    raw = NO_PYTHON[said]
    desk.file.write_bytes(raw)
    code, out, err = desk.type("reset", "1.1")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert "vitcourse reset 1\n" in err
    assert "None" not in err
    if "UTF-8" in said:
        said = "ch01_patches.py, line 2: a letter is not in UTF-8; save the file as UTF-8"
        assert said in desk.type("status").err
    for words in (["trace", "1.1"], ["train", "--code", "chapters"]):
        code, _, err = desk.type(*words)
        assert (code, len(err.splitlines()), said in err) == (2, 1, True)
    assert "01_patches.ipynb" in desk.type("notebook", "1").out or "UTF-8" in said
    assert desk.file.read_bytes() == raw
    code, out, _ = desk.type("reset", "1")
    assert (code, desk.read()) == (0, STUB)
    assert "whole file" in out
    assert keeping.versions(desk.state / "kept")[-1].path.read_bytes() == raw
    desk.type("undo")
    assert desk.file.read_bytes() == raw


def test_a_missing_file_comes_back_with_its_chapter(desk: Desk) -> None:
    desk.file.unlink()
    assert desk.type("reset", "1.1")[0] == 2
    assert desk.type("reset", "1")[0] == 0
    assert (desk.read(), desk.kept()) == (STUB, [])


def test_a_chapter_that_was_emptied_comes_back_with_all_that_its_stubs_need(desk: Desk) -> None:
    desk.write("\ufeff# mine\r\n")
    assert desk.type("reset", "1")[0] == 0
    after = desk.read()
    assert after.startswith("\ufeff")
    assert after.count("\n") == after.count("\r\n")
    module: dict[str, object] = {}
    exec(after.removeprefix("\ufeff"), module)
    assert module.keys() >= {"patch_grid", "patchify", "conv_to_linear"}
    assert "# mine" in after


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes of this kind")
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
def test_what_is_no_file_is_one_line_and_nobody_waits_for_it(desk: Desk, kind: str) -> None:
    desk.file.unlink()
    if kind == "folder":
        desk.file.mkdir()
    elif kind == "pipe":
        os.mkfifo(desk.file)
    else:
        desk.file.symlink_to(desk.file.name)
    for words in (["hint"], ["status"], ["reset", "1"], ["update"]):
        code, _, err = desk.type(*words)
        assert len(err.splitlines()) <= 1
        if code:
            assert "move it away" in err or "for the stub type vitcourse reset 1\n" in err
        assert (code == 0) == (kind == "link to itself" and words[0] in ("reset", "update"))


@pytest.mark.parametrize("target", ["the solution", "nothing"])
def test_a_link_to_the_solution_is_no_answer_and_a_reset_leaves_the_solution_whole(desk: Desk, target: str) -> None:
    solution = root() / "solutions" / "ch01_patches.py"
    before = solution.read_text(encoding="utf-8")
    desk.file.unlink()
    desk.file.symlink_to(solution if target == "the solution" else desk.file.with_name("gone.py"))
    code, out, err = desk.type("check", "1.1")
    assert (code, out) == (2, "")
    assert err == f"vitcourse: chapters/ch01_patches.py is a link to {target}; for the stub type vitcourse reset 1\n"
    assert desk.type("reset", "1")[0] == 0
    assert (desk.read(), desk.file.is_symlink()) == (STUB, False)
    assert solution.read_text(encoding="utf-8") == before


def test_a_chapter_too_large_to_be_one_is_one_line(desk: Desk) -> None:
    desk.write(f"{STUB}# {'x' * codesets.LARGEST}\n")
    says = "chapters/ch01_patches.py is larger than 1 MiB; shorten it, or move it away and type vitcourse reset 1"
    for words in (["check", "1.1"], ["status"]):
        code, _, err = desk.type(*words)
        assert (code, err) == (2, f"vitcourse: {says}\n")
    desk.file.rename(desk.file.with_name("large.txt"))
    assert desk.type("reset", "1")[0] == 0
    assert desk.read() == STUB


@pytest.mark.parametrize("full", ["kept", "chapters"])
def test_a_full_disk_changes_nothing(desk: Desk, full: str) -> None:
    before = desk.files()
    real = Path.replace

    def replace(draft: Path, target: Path) -> Path:
        if target.parent.name == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(draft, target)

    desk.monkeypatch.setattr(Path, "replace", replace)
    code, out, err = desk.type("reset", "1.1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "nothing was changed: No space left" in err
    assert (desk.read(), desk.files()) == (MINE, before)


def test_the_version_is_kept_before_the_file_is_replaced_which_keeps_its_rights(desk: Desk) -> None:
    real, order = keeping.write_atomically, []
    desk.file.chmod(0o640)
    rights = desk.file.stat().st_mode

    def noted(path: Path, content: bytes, **how: bool) -> None:
        order.append((path.parent.name, content))
        real(path, content, **how)

    desk.monkeypatch.setattr(keeping, "write_atomically", noted)
    desk.type("reset", "1.1")
    assert order[0] == ("kept", MINE.encode())
    assert [place for place, _ in order] == ["kept", "chapters"]
    assert desk.file.stat().st_mode == rights


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_and_a_mark_stay_as_they_are(desk: Desk, ending: str) -> None:
    desk.write("\ufeff" + MINE.replace("\n", ending))
    desk.type("reset", "1.1")
    after = with_definitions(MINE, STUB, ["patchify"])
    assert desk.read() == "\ufeff" + after.replace("\n", ending)


def test_a_last_line_and_odd_letters_stay_as_they_are() -> None:
    short = with_definitions(MINE.rstrip("\n"), STUB, ["conv_to_linear"])
    assert short == with_definitions(MINE, STUB, ["conv_to_linear"])
    page = MINE.replace("# Exercise 1.1", "\f# Exercise 1.1 \u2028")
    assert with_definitions(page, STUB, ["patchify"]).replace("\f", "").replace(" \u2028", "") == with_definitions(
        MINE, STUB, ["patchify"]
    )


def test_a_name_that_is_gone_or_bound_twice_is_the_stubs_once() -> None:
    gone = MINE.replace("def unpatchify(", "def my_own(")
    after = with_definitions(gone, STUB, ["unpatchify"])
    assert after.index("def patchify") < after.index("def unpatchify") < after.index("def my_own")
    twice = MINE + "\n\ndef patchify(x, y):\n    return 1\n\n\npatchify = torch.compile(patchify)\n"
    after = with_definitions(twice, STUB, ["patchify"])
    assert after.count("def patchify(") == 1
    assert definitions(after)["patchify"] == definitions(STUB)["patchify"]
    for source in (MINE + "from elsewhere import patchify\n", MINE + "patchify = 1; print(2)\n"):
        with pytest.raises(ValueError, match=r"line \d+ imports patchify|stands on one line"):
            with_definitions(source, STUB, ["patchify"])


def test_the_solution_is_shown_once_passed_or_given_up(desk: Desk) -> None:
    code, out, err = desk.type("solution", "1.1")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "vitcourse solution 1.1 --give-up" in err
    reference = codesets.load_code("solutions").text("ch01_patches")
    assert desk.type("solution", "1.1", "--give-up") == (0, definition(reference, "patchify") + "\n", "")
    state.keep(desk.code, [Verdict("1.1", "passed", "")])
    assert desk.type("solution", "1.1") == (0, definition(reference, "patchify") + "\n", "")
    desk.write(MINE + "# changed since\n")
    code, _, err = desk.type("solution", "1.1")
    assert code == 1
    assert "changed since the last check" in err


def test_a_hint_is_one_line_wherever_no_terminal_would_break_it(desk: Desk) -> None:
    desk.monkeypatch.setenv("FORCE_COLOR", "1")  # as a notebook has it
    desk.monkeypatch.setenv("COLUMNS", "40")
    for count in (1, 2, 3):
        _, out, _ = desk.type("hint", "1.1")
        assert len(out.splitlines()) == count


def test_colours_on_a_terminal_change_no_letter() -> None:
    text = definition(codesets.load_code("solutions").text("ch04_encoder"), "EncoderBlock")
    for no_color in (False, True):
        screen = io.StringIO()
        print_code(Console(file=screen, force_terminal=True, width=40, no_color=no_color), text)
        assert re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()) == f"{text}\n"
        assert ("\x1b" in screen.getvalue()) is not no_color
