"""`vitcourse init` and `update`: a folder to work in, and a newer course coming into work that is half done."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ended

from vitcourse import updating
from vitcourse.codesets import load_code
from vitcourse.course import chapters, exercises, select
from vitcourse.definitions import definition
from vitcourse.keeping import versions
from vitcourse.places import package, root, workplace
from vitcourse.progress import is_started
from vitcourse.stubs import given, pristine

pytestmark = pytest.mark.usefixtures("one_process")

Type = Callable[..., Ended]
SAID = "raise NotImplementedError"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Edits of stubs, (module, old, new), that make a newer course."""

    def edit(*edits: tuple[str, str, str]) -> None:
        texts = {entry.module: pristine(entry.module) for entry in chapters()}
        for module, old, new in edits:
            assert old in texts[module]
            texts[module] = texts[module].replace(old, new)
        monkeypatch.setattr(updating, "pristine", texts.__getitem__)
        monkeypatch.setattr("vitcourse.progress.pristine", texts.__getitem__)

    return edit


def answer(file: Path, *names: str) -> None:
    """Write the references' answers into a learner's file."""
    solution = (root() / "solutions" / file.name).read_text(encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    for name in names:
        text = text.replace(definition(text, name), definition(solution, name))
    file.write_text(text, encoding="utf-8")


# A folder


def test_a_new_folder_holds_every_stub_and_is_the_place_to_work_in(folder: Path) -> None:
    assert workplace() == folder
    assert load_code("chapters").folder == folder / "chapters"
    for entry in chapters():
        assert (folder / "chapters" / f"{entry.module}.py").read_text(encoding="utf-8") == pristine(entry.module)
    assert "vitcourse check" in (folder / "README.md").read_text(encoding="utf-8")
    assert given() == {entry.module: pristine(entry.module) for entry in chapters()}
    assert not any(is_started(load_code("chapters"), exercise) for exercise in exercises())


def test_a_file_has_its_short_name_where_that_leads_to_it_and_else_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, module = load_code("chapters"), chapters()[0].module
    assert code.shown_as(module) == f"chapters/{module}.py"
    monkeypatch.chdir(folder.parent)
    assert code.shown_as(module) == str(folder / "chapters" / f"{module}.py")


def test_below_the_folder_it_is_still_the_place(folder: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type) -> None:
    (folder / "notebooks").mkdir()
    monkeypatch.chdir(folder / "notebooks")
    assert workplace() == folder
    assert type_in("hint", "1.1")[0] == 0
    assert (folder / ".vitcourse" / "hints.json").is_file()


def test_nothing_that_stands_there_is_replaced(folder: Path, tmp_path: Path, type_in: Type) -> None:
    for there in (".", "chapters"):
        code, _, err = type_in("init", there)
        assert (code, err.count("\n")) == (2, 1)
        assert "vitcourse update" in err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine", encoding="utf-8")
    assert type_in("init", tmp_path / "other")[0] == 0
    assert (tmp_path / "other" / "README.md").read_text(encoding="utf-8") == "mine"
    for wrong in (folder / "README.md", folder / "README.md" / "x"):
        code, _, err = type_in("init", wrong)
        assert (code, err.count("\n")) == (2, 1), err


def test_without_a_folder_an_installed_course_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type
) -> None:
    monkeypatch.chdir(tmp_path)
    here = root()
    monkeypatch.setattr("vitcourse.places.is_installed", lambda: True)
    monkeypatch.setattr("vitcourse.places.root", lambda: here)
    for words in (["check"], ["status"], ["hint", "1.1"], ["undo"], ["update"]):
        code, _, err = type_in(*words)
        assert (code, err.count("\n")) == (2, 1), words
        assert "vitcourse init my-vit" in err
    for word in ("check", "stubs"):
        code, out, err = type_in("dev", word)
        assert (code, out, err.count("\n"), "type it in a clone" in err) == (2, "", 1, True)


def test_a_chapter_that_is_gone_is_told_how_to_come_back(folder: Path, type_in: Type) -> None:
    (folder / "chapters" / "ch02_tokens.py").unlink()
    assert "next: vitcourse reset 2, for its stubs\n" in type_in("check", "2.1").out
    assert type_in("trace", "2.1").err.endswith("; to have its stubs again, type: vitcourse reset 2\n")
    assert type_in("reset", "2")[0] == 0
    assert "next: vitcourse hint 2.1\n" in type_in("check", "2.1").out


# A newer course


def test_a_folder_whose_chapters_are_gone_is_no_place_for_those_of_the_clone(folder: Path, type_in: Type) -> None:
    shutil.rmtree(folder / "chapters")
    for words in (["status"], ["check", "1.1"], ["reset", "1"]):
        done = type_in(*words)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"init {folder}" in done.err
    assert type_in("init", str(folder)).code == 0
    assert workplace() == folder


def test_a_course_update_with_work_half_done_loses_nothing_and_says_everything(
    folder: Path, newer: Callable[..., None], type_in: Type
) -> None:
    first, second = folder / "chapters" / "ch01_patches.py", folder / "chapters" / "ch02_tokens.py"
    answer(first, "patchify", "unpatchify", "PatchEmbedding")
    answer(second, "prepend_cls", "sinusoidal_positions")
    first.write_text(first.read_text(encoding="utf-8") + "\n\ndef helper(x):\n    return x  # mine\n", encoding="utf-8")
    # a note in a stub that doesn't change
    second.write_text(
        second.read_text(encoding="utf-8").replace("# 1. prepend:", "# 1. how? prepend:"), encoding="utf-8"
    )
    before = {file: file.read_bytes() for file in (first, second)}
    gone = (folder / "chapters" / "ch03_attention.py").read_bytes()
    newer(
        ("ch01_patches", "def unpatchify(\n", "def unpatchify(  # the inverse\n"),
        ("ch01_patches", "# 1. D, C and P, read off conv.weight", "# 1. D, C, P, read off conv.weight"),
        ("ch02_tokens", "n_positions: int, d_model: int)", "n_positions: int, d_model: int, base: float = 1e4)"),
        ("ch02_tokens", "# 1. the error for a d_model that doesn't fit", "# 1. the error"),
        ("ch02_tokens", "import torch\n", "import math\n\nimport torch\n"),
        ("ch03_attention", "is yours to write", "is for you to write"),
    )
    code, out, err = type_in("update")
    assert (code, err) == (0, "")
    # nothing is lost: what was written stays to the letter
    text = second.read_text(encoding="utf-8")
    for file, names in ((first, ["unpatchify", "PatchEmbedding", "helper"]), (second, ["sinusoidal_positions"])):
        for name in names:
            assert definition(file.read_text(encoding="utf-8"), name) == definition(before[file].decode(), name)
    assert "return x  # mine" in first.read_text(encoding="utf-8")
    # the rest is new
    assert "# 1. D, C, P, read off" in first.read_text(encoding="utf-8")
    assert "import math\n" in text
    assert "# 1. the error\n" in text
    assert "# 1. how? prepend:" in text
    assert b"is for you to write" in (folder / "chapters" / "ch03_attention.py").read_bytes()
    # and said, by id
    assert "2.2 stays as you wrote it, and what it asks has changed" in out
    assert "base: float=10000.0" in out
    assert "1.4 has a new stub" in out
    assert "2.3 has a new stub" in out
    assert "1.1" not in out
    assert "1.2" not in out
    assert "vitcourse undo" in out
    kept = [version.path.read_bytes() for version in versions(folder / ".vitcourse" / "kept")]
    assert kept == [before[first], before[second], gone]
    # it is done once
    assert "nothing to do" in type_in("update")[1]
    # and undo takes all of it back
    code, out, _ = type_in("undo")
    assert code == 0
    assert out.count("before update to") == 3
    third = folder / "chapters" / "ch03_attention.py"
    assert [file.read_bytes() for file in (first, second, third)] == [before[first], before[second], gone]


def test_an_older_stub_is_not_started(folder: Path, newer: Callable[..., None], type_in: Type) -> None:
    newer(
        ("ch01_patches", "is yours to write", "is for you to write"),
        ("ch04_encoder", "def gelu(", "def gelu_exact("),
        ("ch04_encoder", 'def forward(self, x: Float[Tensor, "... D"])', "def forward(self, x, mask)"),
    )
    for id in ("1.1", "1.3", "4.1", "4.3"):
        (asked,) = select(id)
        assert not is_started(load_code("chapters"), asked), id
    file = folder / "chapters" / "ch04_encoder.py"
    answer(file, "LayerNorm")
    assert is_started(load_code("chapters"), select("4.1")[0])
    assert type_in("update")[0] == 0
    assert "def gelu_exact(" in file.read_text(encoding="utf-8")
    assert "def gelu(" not in file.read_text(encoding="utf-8")
    assert not is_started(load_code("chapters"), select("1.1")[0])


def test_a_file_that_is_no_python_stays_until_it_is_mended(
    folder: Path, newer: Callable[..., None], type_in: Type
) -> None:
    file = folder / "chapters" / "ch04_encoder.py"
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(f"    {SAID}", "    return (", 1), encoding="utf-8")
    newer(("ch04_encoder", "# self.weight, self.bias", "# both"), ("ch05_vit", "# 1. training mode", "# 1. train"))
    before = file.read_bytes()
    code, out, _ = type_in("update")
    assert code == 1
    assert "chapters/ch04_encoder.py:\n  left as it is (line " in out
    assert file.read_bytes() == before
    assert "# 1. train\n" in (folder / "chapters" / "ch05_vit.py").read_text(encoding="utf-8")
    file.write_text(whole, encoding="utf-8")
    assert type_in("update")[0] == 0
    assert "# both\n" in file.read_text(encoding="utf-8")


def test_a_chapter_that_is_new_or_was_deleted_comes(folder: Path, newer: Callable[..., None], type_in: Type) -> None:
    file = folder / "chapters" / "ch02_tokens.py"
    file.unlink()
    newer()
    assert "its stubs are there again" in type_in("update")[1]
    assert file.read_text(encoding="utf-8") == pristine("ch02_tokens")


def test_without_a_note_of_what_was_given_written_ones_stay(
    folder: Path, newer: Callable[..., None], type_in: Type
) -> None:
    (folder / ".vitcourse" / "given.json").write_text("[" * 100_000, encoding="utf-8")
    file = folder / "chapters" / "ch04_encoder.py"
    answer(file, "gelu")
    newer(
        ("ch04_encoder", "Any shape -> the same shape", "All shapes"),
        ("ch04_encoder", "# self.weight, self.bias", "# both"),
    )
    before = definition(file.read_text(encoding="utf-8"), "gelu")
    code, out, _ = type_in("update")
    assert code == 0
    assert definition(file.read_text(encoding="utf-8"), "gelu") == before
    assert "# both\n" in file.read_text(encoding="utf-8")
    assert "4.2 stays as you wrote it" in out
    assert "All shapes" in out


def test_line_ends_and_a_mark_stay(folder: Path, newer: Callable[..., None], type_in: Type) -> None:
    file = folder / "chapters" / "ch04_encoder.py"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    newer(("ch04_encoder", "# self.weight, self.bias", "# both"))
    assert type_in("update")[0] == 0
    after = file.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert b"# both\r\n" in after


def test_lines_around_stay_where_both_changed_them_and_get_the_imports_that_they_lack(
    folder: Path, newer: Callable[..., None], type_in: Type
) -> None:
    file = folder / "chapters" / "ch04_encoder.py"
    mine = file.read_text(encoding="utf-8").replace("import torch\n", "import math\nimport torch\n")
    file.write_text(mine, encoding="utf-8")
    newer(
        ("ch04_encoder", "import torch\n", "import torch\nfrom itertools import pairwise, repeat\n\nNEW = 1\n"),
        ("ch04_encoder", "# self.weight, self.bias", "# both"),
        ("ch04_encoder", "def gelu(", "def fresh(x):\n    return x\n\n\ndef gelu("),
    )
    _, out, _ = type_in("update")
    text = file.read_text(encoding="utf-8")
    assert text.index("import math\nimport torch\n") < text.index("from itertools import pairwise, repeat\n")
    assert "# both\n" in text
    assert "def fresh(x):\n    return x\n" in text
    assert "NEW = 1" not in text
    assert "  your lines stay where the course has this now: NEW = 1\n" in out
    assert out.count("your lines stay") == 1


def test_an_import_that_was_taken_out_comes_back_only_where_it_is_used(
    folder: Path, newer: Callable[..., None], type_in: Type
) -> None:
    file = folder / "chapters" / "ch02_tokens.py"
    mine = file.read_text(encoding="utf-8")
    for line in ("import torch.nn.functional as F\n", "from torch import Tensor, nn\n"):
        mine = mine.replace(line, "")
    file.write_text(mine, encoding="utf-8")
    newer(("ch02_tokens", "import torch\n", "import math\nimport torch\n"))
    assert type_in("update")[0] == 0
    text = file.read_text(encoding="utf-8")
    assert "import math\n" in text  # it is new
    assert "from torch import Tensor, nn\n" in text  # the stubs' signatures name it
    assert " as F" not in text


def test_the_readme_of_a_folder_names_only_commands_that_there_are(folder: Path, type_in: Type) -> None:
    lines = (package() / "learner_readme.md").read_text(encoding="utf-8").splitlines()
    words = [line.split()[1] for line in lines if line.startswith("    vitcourse ")]
    assert {"check", "hint"} <= set(words)
    for word in words:
        assert type_in(word, "--help")[0] == 0, word
