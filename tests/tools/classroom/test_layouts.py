"""What a class hands in is found, in whatever layout; nothing in it can make the grader wait, follow or swell."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vitcourse.classroom.layouts import Submission, submissions
from vitcourse.codesets import load_code
from vitcourse.course import chapters
from vitcourse.places import root

MODULES = [chapter.module for chapter in chapters()]
TEXTS = {module: (root() / "solutions" / f"{module}.py").read_text(encoding="utf-8") for module in MODULES}


def fill(folder: Path, *modules: str, name: Callable[[str], str] = lambda module: f"{module}.py") -> Path:
    """Chapters in a folder, under these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in modules or MODULES:
        (folder / name(module)).write_text(TEXTS[module], encoding="utf-8")
    return folder


def zipped(folder: Path, file: Path) -> Path:
    """The folder as a zip."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return file


def packed(*parts: tuple[str | zipfile.ZipInfo, str | bytes]) -> bytes:
    """A zip of these names and contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return file.getvalue()


def only(place: Path) -> Submission:
    """The one submission at a place."""
    (found,) = submissions(place)
    return found


def is_whole(found: Submission) -> bool:
    """Whether every chapter is there."""
    return found.found == TEXTS and not found.missing and not found.unreadable


NAMES = {
    "a second download": lambda m: f"{m} (1).py",
    "a copy": lambda m: f"{m} - Copy.py",
    "Canvas, handed in again": lambda m: f"{m}-2.py",
    "capitals": lambda m: f"{m.title()}.PY",
    "no zero": lambda m: m.replace("ch0", "chapter") + ".py",
    "the number alone": lambda m: m.partition("_")[0] + ".py",
    "the word alone": lambda m: m.partition("_")[2] + ".py",
    "with a name before": lambda m: f"lee_{m}_final.py",
    "text": lambda m: f"{m}.py.txt",
    "no name at all": lambda m: f"homework{MODULES.index(m) * 7}.py",
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_chapter_is_found_by_any_reasonable_name(kind: str, tmp_path: Path) -> None:
    found = only(fill(tmp_path / "lee", name=NAMES[kind]))
    assert is_whole(found), found.missing
    assert len(found.notes) == len(MODULES)


def test_one_submission_is_found_in_any_layout(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "chapters")
    fill(tmp_path / "b" / "course-main" / "work")
    clone = tmp_path / "c"
    for room in ("chapters", "solutions", "tests/tools/alternatives"):
        fill(clone / room)
    (clone / "solutions" / "ch01_patches.py").write_text("wrong = 1\n", encoding="utf-8")
    for module in MODULES:
        fill(tmp_path / "d" / module.partition("_")[0], module)
    zipped(fill(tmp_path / "in" / "chapters").parent, tmp_path / "e.zip")
    (tmp_path / "f").mkdir()
    zipped(tmp_path / "in", tmp_path / "f" / "chapters.zip")
    zipped(tmp_path / "f", tmp_path / "g.zip")
    fill(tmp_path / "in2" / "__MACOSX")
    for name in ("a", "b", "c", "d", "e.zip", "f", "g.zip"):
        assert is_whole(only(tmp_path / name)), name


def test_a_class_is_read_as_it_is_exported(tmp_path: Path) -> None:
    moodle, canvas, github = tmp_path / "moodle", tmp_path / "canvas", tmp_path / "github"
    fill(moodle / "Ada Lovelace_101_assignsubmission_file_")
    (moodle / "Grace Hopper_103_assignsubmission_file_").mkdir()
    zipped(fill(tmp_path / "in"), moodle / "Grace Hopper_103_assignsubmission_file_" / "work.zip")
    fill(canvas, name=lambda m: f"adal_101_5003_{m}-1.py")
    fill(canvas, "ch02_tokens", name=lambda m: f"hopperg_LATE_103_5009_{m}.py")
    zipped(tmp_path / "in", canvas / "noether_107_5011_all.zip")
    fill(github / "vit-ada" / "chapters")
    (github / "vit-emmy").mkdir()
    (github / "grades.csv").write_text("x", encoding="utf-8")
    (github / "vit-grace.zip").write_bytes(b"PK\3\4 broken")
    assert [(one.student, is_whole(one)) for one in submissions(moodle)] == [
        ("Ada Lovelace", True),
        ("Grace Hopper", True),
    ]
    found = {one.student: one for one in submissions(canvas)}
    assert {name: len(one.found) for name, one in found.items()} == {
        "adal": len(MODULES),
        "hopperg": 1,
        "noether": len(MODULES),
    }
    rows = submissions(github)
    assert [one.name for one in rows] == ["vit-ada", "vit-emmy", "vit-grace.zip"]
    assert "nothing was handed in" in rows[1].missing["ch01_patches"]
    assert "can't be opened" in rows[2].unreadable["ch01_patches"]


def test_a_stray_file_makes_a_class_no_submission_and_old_copies_make_a_submission_no_class(tmp_path: Path) -> None:
    for student in ("ada", "emmy", "grace"):
        fill(tmp_path / "class" / student)
    fill(tmp_path / "class", "ch02_tokens", "ch05_vit")
    fill(fill(tmp_path / "lee", "ch01_patches", "ch02_tokens", "ch03_attention") / "first try")
    fill(tmp_path / "lee" / "solutions")
    assert [one.name for one in submissions(tmp_path / "class")] == [
        "ada", "ch02_tokens.py", "ch05_vit.py", "emmy", "grace",
    ]  # fmt: skip
    assert only(tmp_path / "lee").found


def test_what_is_missing_is_said_with_what_is_there_instead(tmp_path: Path) -> None:
    folder = fill(tmp_path / "lee", "ch01_patches")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    found = only(folder)
    assert set(found.missing) == set(MODULES[1:])
    assert "no ch03_attention.py" in found.missing["ch03_attention"]
    assert "notes.txt" in found.missing["ch03_attention"]


@pytest.mark.parametrize(("encoding", "ending"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", "\r")])
def test_a_file_is_read_as_check_reads_it(encoding: str, ending: str, tmp_path: Path) -> None:
    text = "word = 'é'\n\n\ndef patchify(images, patch_size):\n    return images\n"
    file = tmp_path / "ch01_patches.py"
    file.write_bytes(text.replace("\n", ending).encode(encoding))
    assert only(tmp_path).found["ch01_patches"] == load_code(tmp_path).source("ch01_patches") == text


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_bad_byte_costs_its_own_chapter_alone(encoding: str, tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "ch02_tokens.py").write_bytes("é = 1\n".encode(encoding))
    file = tmp_path / "ch03_attention.py"
    file.write_bytes(file.read_bytes() + b"\n# \xe9\n")
    found = only(tmp_path)
    assert set(found.unreadable) == {"ch02_tokens", "ch03_attention"}
    assert "line 1 holds a byte that is no UTF-8" in found.unreadable["ch02_tokens"]
    line = len(TEXTS["ch03_attention"].splitlines()) + 2
    assert f"line {line}" in found.unreadable["ch03_attention"]
    assert len(found.found) == len(MODULES) - 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are of Unix")
def test_nothing_is_opened_that_is_no_regular_file_of_the_submission(tmp_path: Path) -> None:
    folder = fill(tmp_path / "lee")
    for module in MODULES:
        (folder / f"{module}.py").unlink()
    os.mkfifo(folder / "ch01_patches.py")
    (folder / "ch02_tokens.py").symlink_to("/dev/zero")
    (folder / "ch03_attention.py").symlink_to(root() / "solutions" / "ch03_attention.py")
    (folder / "ch04_encoder.py").mkdir()
    with (folder / "ch05_vit.py").open("wb") as file:
        file.truncate(2**40)  # sparse
    (folder / "round").symlink_to(folder)
    found = only(folder)
    assert not found.found
    words = ["pipe", "leads out", "leads out", "folder", "larger than"]
    assert [word for module, word in zip(MODULES, words, strict=False) if word not in found.unreadable[module]] == []


def test_no_link_leads_to_another_persons_answers(tmp_path: Path) -> None:
    for name in ("ada", "ben"):
        fill(tmp_path / name)
    linked = tmp_path / "ben" / "ch01_patches.py"
    linked.unlink()
    linked.symlink_to("../ada/ch01_patches.py")
    ada, ben = submissions(tmp_path)
    assert "ch01_patches" in ada.found
    assert "a link that leads out" in ben.unreadable["ch01_patches"]


def test_a_link_within_the_submission_is_followed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "lee" / "src").parent
    (folder / "chapters").mkdir()
    (folder / "chapters" / "ch01_patches.py").symlink_to("../src/ch01_patches.py")
    assert is_whole(only(folder))


def test_bombs_and_odd_archives_are_a_sentence(tmp_path: Path) -> None:
    chapter = "ch01_patches.py"
    link = zipfile.ZipInfo(chapter)
    link.external_attr = 0o120777 << 16
    deep = packed((chapter, TEXTS["ch01_patches"]))
    for _ in range(6):
        deep = packed(("more.zip", deep))
    for name, content, said in (
        ("bomb.zip", packed((chapter, bytes(17 * 2**20))), "larger than"),
        ("links.zip", packed((link, "/etc/passwd")), "link"),
        ("torn.zip", b"PK", "can't be opened: File is not a zip file"),
        ("deep.zip", deep, "hand in a .zip"),
        ("tar.tgz", b"\x1f\x8b", "hand in a .zip"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in only(tmp_path / name).unreadable["ch01_patches"], name


def test_a_name_in_an_archive_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(packed((f"../../{MODULES[0]}.py", TEXTS[MODULES[0]])))
    assert only(tmp_path / "out.zip").found[MODULES[0]] == TEXTS[MODULES[0]]
    assert not (tmp_path.parent / f"{MODULES[0]}.py").exists()


def test_helpers_beside_the_chapters_come_along_and_stand_in_for_nothing(tmp_path: Path) -> None:
    folder = fill(tmp_path / "lee" / "chapters")
    (folder / "shared.py").write_text("one = 1\n", encoding="utf-8")
    for name in ("torch.py", "conftest.py", "json.py", "solutions.py"):
        (folder / name).write_text("raise SystemExit\n", encoding="utf-8")
    found = only(folder.parent)
    assert found.helpers == {"shared": "one = 1\n"}
    assert any("not used" in note for note in found.notes)


def test_the_hash_is_that_of_the_texts(tmp_path: Path) -> None:
    one, other = fill(tmp_path / "one"), fill(tmp_path / "other")
    assert only(one).hash == only(other).hash
    (other / "ch02_tokens.py").write_text("changed = 1\n", encoding="utf-8")
    assert only(one).hash != only(other).hash
