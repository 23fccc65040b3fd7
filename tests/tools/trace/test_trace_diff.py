"""A learner's trace beside the reference's, and what `vitcourse trace` makes of it."""

import json
import re
import shutil

import pytest
import torch
from typer.testing import CliRunner

from vitcourse.cli import app
from vitcourse.errors import RequestError
from vitcourse.places import root
from vitcourse.stubs import write_stubs
from vitcourse.trace import diff, trace
from vitcourse.trace.exercises import trace_exercise


@pytest.fixture
def learner(tmp_path):
    """Write a learner's chapters: the solutions with one text put in place of another."""

    def write(chapter: str, old: str, new: str):
        folder = tmp_path / "mine"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root() / "solutions", folder)
        text = (folder / chapter).read_text(encoding="utf-8")
        assert old in text
        (folder / chapter).write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return write


def compared(id, folder):
    (mine,), (reference,) = trace_exercise(id, folder), trace_exercise(id, "solutions")
    return diff(mine, reference)


def line_of(file, text):
    """The number of the first line that has this text."""
    return next(n for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if text in line)


# In braces: the line that has this text.
MISTAKES = [
    ("1.3", "ch01_patches.py", "x = x.transpose(1, 2) ", "x = x # ",
     "line {flatten(2)}: yours (B, D, N), expected (B, N, D): the last two axes are swapped"),
    ("1.3", "ch01_patches.py", "x = x.transpose(1, 2) ", "x = x.transpose(0, 2) ",
     "line {transpose(0, 2)}: yours (N, D, B), expected (B, N, D): the axes are in another order"),
    ("3.4", "ch03_attention.py", "x = self.out(x) ", "x = self.out(x).mean(1) ",
     "yours (B, D), expected (B, T, D): the axis T is missing"),
    ("5.1", "ch05_vit.py", "cls = x[:, 0] ", "cls = x[:, 1:] ",
     "line {cls = x[:, 1:]}: yours (B, N, D), expected (B, D): the axis N is too many"),
    ("4.3", "ch04_encoder.py", "self.fc2 = nn.Linear(ratio * d_model, d_model)",
     "self.fc2 = nn.Linear(ratio * d_model, 2 * d_model)",
     "yours (B, T, 2·D), expected (B, T, D): the last axis is 2·D, not D"),
    ("3.1", "ch03_attention.py", "return output, weights", "return output",
     "1 tensor where 2 tensors should be"),
]  # fmt: skip


@pytest.mark.parametrize(("id", "chapter", "old", "new", "verdict"), MISTAKES)
def test_the_first_row_where_the_shapes_part_is_named(learner, id, chapter, old, new, verdict):
    folder = learner(chapter, old, new)
    difference = compared(id, folder)
    assert not difference.same
    assert re.sub(r"\{(.*?)\}", lambda line: str(line_of(folder / chapter, line[1])), verdict) in difference.verdict
    assert sum(line.startswith("▶") for line in difference.to_text().splitlines()) <= 1


@pytest.mark.parametrize(
    ("chapter", "old", "new", "id"),
    [
        ("ch01_patches.py", "x = x.flatten(2) ", "x = x.reshape(x.shape[0], x.shape[1], -1) ", "1.3"),
        ("ch01_patches.py", "x = x.flatten(2) ", "x = x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2) ", "1.3"),
        ("ch03_attention.py", 'rearrange(x, "B h T dh -> B T (h dh)") ', "x.transpose(1, 2).flatten(2) ", "3.4"),
    ],
)
def test_another_way_to_the_same_shapes_is_no_difference(learner, chapter, old, new, id):
    difference = compared(id, learner(chapter, old, new))
    assert difference.same
    assert "▶" not in repr(difference)


def test_an_error_comes_with_where_the_shapes_had_parted_before(learner):
    folder = learner("ch03_attention.py", '"B T (h dh) -> B h T dh"', '"B T (h dh) -> B T h dh"')
    difference = compared("3.4", folder)
    assert not difference.same
    line = line_of(folder / "ch03_attention.py", "self.out(x)")
    assert f"your code raised, line {line}: self.out(x)" in difference.verdict
    assert "x (B=5, h=2, T·dh=200)" in difference.verdict
    assert "yours (B, T, h, dh), expected (B, h, T, dh): the axes T and h are swapped" in difference.verdict


def test_two_axes_of_one_size_are_told_apart():
    x = torch.rand(3, 3, 3)
    difference = diff(trace(lambda x: x, x, names="B T D"), trace(lambda x: x.mT, x, names="B T D"))
    assert difference.parting.difference == "the last two axes are swapped"


def run(*arguments):
    return CliRunner().invoke(app, ["trace", *map(str, arguments)])


def test_the_command_shows_the_difference_and_fails(learner):
    result = run("1.3", "--code", learner("ch01_patches.py", "x = x.transpose(1, 2) ", "x = x # "))
    assert result.exit_code == 1
    assert "the last two axes are swapped" in " ".join(result.output.split())


def test_a_command_in_what_it_says_is_one_line_however_narrow_the_screen_is(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "40")
    write_stubs(tmp_path)
    assert "for a hint: vitcourse hint 1.3\n" in run("1.3", "--code", tmp_path).output


def test_the_command_does_not_show_the_solution_to_who_has_none(learner):
    folder = learner("ch01_patches.py", "x = x.transpose(1, 2) ", "x = x # ")
    for options in ([], ["--json"], ["--depth", "1"]):
        for code in (folder, "chapters"):
            assert "transpose" not in run("1.3", "--code", code, *options).output


def test_the_command_on_the_solutions_and_on_a_right_answer(learner, tmp_path):
    assert run("1.3", "--code", "solutions").exit_code == 0
    assert run("1.3", "--code", learner("ch01_patches.py", "x = x.flatten(2) ", "x = x.flatten(2)  ")).exit_code == 0
    right = learner("ch01_patches.py", "x = x.flatten(2) ", "x = x.flatten(2)  ")
    assert "2,368" in run("1.3", "--code", right, "--parameters").output  # beside the reference's, too
    page = tmp_path / "trace.html"
    assert run("5.1", "--code", "solutions", "--html", page).exit_code == 0
    assert "<table>" in page.read_text(encoding="utf-8")


def test_the_command_writes_the_picture_and_refuses_a_file_that_cannot_be(tmp_path):
    picture = tmp_path / "flow.svg"
    assert run("5.1", "--code", "solutions", "--svg", picture).exit_code == 0
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    for option in ("--svg", "--html"):
        refused = run("1.3", "--code", "solutions", option, tmp_path / "missing" / "file")
        assert isinstance(refused.exception, RequestError)
        assert "can't write" in str(refused.exception)


def test_the_command_writes_json():
    value = json.loads(run("3.3", "--code", "solutions", "--json").output)
    assert [entry["name"] for entry in value] == ["split_heads", "merge_heads"]


def test_the_command_shows_the_whole_model_on_a_screen():
    assert len(run("5.1", "--code", "solutions").output.splitlines()) <= 30
    assert "self.qkv(x)" in run("5.1", "--code", "solutions", "--depth", "3").output
