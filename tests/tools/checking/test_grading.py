"""`vitcourse check` and `status`: one honest verdict for each exercise, whatever a learner's code does."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from answers import answered
from commands import Ended
from rich.console import Console

from vitcourse.checking import state
from vitcourse.checking.grading import grade, up_to_first_not_done
from vitcourse.checking.judge import Judge, Verdict
from vitcourse.checking.report import print_verdicts
from vitcourse.checking.wall import Worker
from vitcourse.checking.workers import Workers
from vitcourse.codesets import CodeSet, load_code
from vitcourse.course import exercises, select
from vitcourse.errors import RequestError
from vitcourse.places import root
from vitcourse.stubs import init

Learner = Callable[..., CodeSet]
Type = Callable[..., Ended]

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    """A learner's folder of stubs, in which the bodies of some exercises of one function are given."""

    def make(**bodies: str) -> CodeSet:
        folder = tmp_path / "learner"
        folder.mkdir()
        for module, text in answered(**bodies).items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        return load_code(folder)

    return make


HOSTILE = {
    # exercise: (what it writes, what its body is, status, a word of the headline)
    "1.1": ("patchify", "import os; os._exit(3)", "error", "exit code 3"),
    "1.2": ("unpatchify", "while True: pass", "timeout", "1 seconds"),
    "1.4": ("conv_to_linear", "import sys; sys.exit('enough')", "error", "enough"),
    "2.1": ("prepend_cls", "import ctypes; ctypes.string_at(0)", "error", "signal 11"),
    "2.2": ("sinusoidal_positions", "return sinusoidal_positions(n_positions, d_model)", "error", "RecursionError"),
    "5.5": ("evaluate", "return torch.zeros(10**10)", "error", "memory"),
    "2.5": ("resize_positions", "return bytearray(10**11)", "error", "MemoryError"),
    "3.1": ("scaled_dot_product_attention", "print('x' * 2 * 10**8); return q, k", "error", "File too large"),
    "3.3": ("split_heads", "return input()", "error", "EOF"),
    "4.2": ("gelu", "import os; os.remove(__file__); return x", "error", "FileNotFoundError"),
    "5.2": ("cross_entropy", "open(__file__, 'w').write('gone'); return logits", "error", "No such file"),
    "5.3": ("warmup_cosine", "raise KeyboardInterrupt", "error", ""),
}


@pytest.mark.usefixtures("uncaused")
@pytest.mark.skipif(sys.platform != "linux", reason="the limits on memory and output are Linux's")
def test_hostile_code_gets_its_verdict_and_leaves_the_files_and_the_other_exercises_whole(
    learner: Learner, workers: Workers
) -> None:
    code = learner(**{name: body for name, body, _, _ in HOSTILE.values()})
    before = {file.name: file.read_text(encoding="utf-8") for file in code.folder.iterdir()}
    others = [asked for asked in exercises() if asked.id != "1.2"]  # whose time is not to be up on a busy machine
    found = grade(code, select("1.2"), Judge(workers, timeout=1)) + grade(code, others, Judge(workers))
    verdicts = {verdict.exercise: verdict for verdict in found}
    for id, (_, _, status, word) in HOSTILE.items():
        assert verdicts[id].status == status, verdicts[id]
        assert word in verdicts[id].headline, verdicts[id]
    assert {verdict.status for id, verdict in verdicts.items() if id not in HOSTILE} == {"not-started"}
    assert {file.name: file.read_text(encoding="utf-8") for file in code.folder.iterdir()} == before
    assert verdicts["1.1"].file == "learner/ch01_patches.py"
    assert before["ch01_patches.py"].splitlines()[verdicts["1.1"].line - 1].startswith("def patchify")


def test_code_that_fails_when_it_is_imported_is_said_with_its_line(learner: Learner, workers: Workers) -> None:
    code = learner(gelu="return x", patchify="return images")
    file = code.folder / "ch04_encoder.py"
    file.write_text(file.read_text(encoding="utf-8") + "\nundefined_name\n", encoding="utf-8")
    last = len(file.read_text(encoding="utf-8").splitlines())
    verdicts = {verdict.exercise: verdict for verdict in grade(code, [*select("1.1"), *select("4.2")], Judge(workers))}
    assert verdicts["4.2"].status == "error"
    assert verdicts["4.2"].headline.startswith(f"learner/ch04_encoder.py, line {last}: NameError")
    assert verdicts["1.1"].status == "failed"


def test_a_chapter_that_loads_without_an_end_is_waited_for_once(
    learner: Learner, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = learner(cross_entropy="return logits", warmup_cosine="return step")
    file = code.folder / "ch05_vit.py"
    file.write_text(file.read_text(encoding="utf-8") + "\nwhile True:\n    pass\n", encoding="utf-8")
    asked, loads = [*select("5.2"), *select("5.3")], []
    load = Worker.load
    monkeypatch.setattr(Worker, "load", lambda worker: [loads.append(worker), load(worker)][1])
    judge = Judge(workers, timeout=2)
    first, other = (judge.verdict(code, each) for each in asked)
    assert (first.status, other.status, len(loads)) == ("timeout", "timeout", 1)
    assert "ch05_vit.py, line " in first.diagnosis
    assert other.headline == first.headline
    judge.verdict(code, asked[0])  # asked for again, it gets another chance
    assert len(loads) == 2


def test_a_chapter_that_is_nested_too_deeply_for_python_gets_its_verdict(learner: Learner, workers: Workers) -> None:
    code = learner(gelu=f"return {'-' * 49_999}x", patchify="return images")
    (verdict,) = grade(code, select("4.2"), Judge(workers))
    assert verdict.status == "error"
    assert verdict.headline.startswith("learner/ch04_encoder.py")


def test_nothing_is_written_into_a_folder_that_is_checked(learner: Learner, workers: Workers) -> None:
    code = learner(gelu="return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))")
    before = sorted(path.name for path in code.folder.rglob("*"))
    assert [verdict.status for verdict in grade(code, select("4.2"), Judge(workers))] == ["passed"]
    assert sorted(path.name for path in code.folder.rglob("*")) == before


@pytest.mark.usefixtures("uncaused")
def test_a_needed_exercise_is_checked_too_but_not_shown(learner: Learner, workers: Workers) -> None:
    code = learner(
        sinusoidal_positions="return torch.zeros(n_positions, d_model)",
        sinusoidal_positions_2d="return sinusoidal_positions(grid[0] * grid[1], d_model)",
    )
    (verdict,) = grade(code, select("2.3"), Judge(workers))
    assert (verdict.exercise, verdict.status, verdict.headline) == ("2.3", "blocked", "blocked by 2.2")


def test_by_default_the_check_ends_at_the_first_exercise_that_is_not_done() -> None:
    verdicts = [Verdict("1.1", "passed", ""), Verdict("1.2", "failed", ""), Verdict("1.3", "passed", "")]
    assert [verdict.exercise for verdict in up_to_first_not_done(verdicts)] == ["1.1", "1.2"]
    assert len(up_to_first_not_done(verdicts[:1])) == 1


def test_the_command_tells_what_is_wrong_where_and_what_to_type(learner: Learner, type_in: Type) -> None:
    code = learner(gelu="return x * 0.5 * (1 + torch.erf(x))")
    ended, printed, _ = type_in("check", "4", "--code", code.folder)
    assert ended == 1
    assert "failed       4.2  GELU" in printed
    assert "The argument of erf is x; it should be x / √2.\n" in printed
    assert "expected" in printed
    assert "yours" in printed
    assert "--seed" in printed
    assert "learner/ch04_encoder.py, line" in printed
    assert "vitcourse hint 4.2" in printed
    assert "0 passed, 1 failed, 3 not done" in printed
    assert "Traceback" not in printed

    ended, printed, _ = type_in("check", "4.2", "--code", code.folder, "--json")
    assert ended == 1
    (entry,) = json.loads(printed)
    assert {"exercise", "status", "headline", "diagnosis"} <= entry.keys()
    assert (entry["exercise"], entry["status"]) == ("4.2", "failed")

    report = code.folder.parent / "report.xml"
    assert type_in("check", "4", "--code", code.folder, "--junit", report).code == 1
    (suite,) = ElementTree.parse(report).getroot()
    assert [suite.get(count) for count in ("tests", "failures", "errors", "skipped")] == ["4", "1", "0", "3"]
    assert (
        suite.findall("testcase")[1].find("failure").get("message") == "The argument of erf is x; it should be x / √2."
    )


def test_a_wrong_request_is_one_line_and_exit_code_2(tmp_path: Path, type_in: Type) -> None:
    for words in (
        ["check", "9.9"],
        ["check", "--code", "nowhere"],
        ["check", "--code", str(tmp_path)],
        ["check", "--no-such-option"],
        ["no-such-command"],
        *([word, "9.9"] for word in ("hint", "watch", "reset", "undo", "solution")),
    ):
        code, out, err = type_in(*words)
        assert (code, out, len(err.splitlines())) == (2, "", 1), (words, err)
    assert "Did you mean 'train', 'trace'? For help" in type_in("trian").err
    assert "type: vitcourse check --help" in type_in("check", "--junit").err
    for words, said in (
        (["check", "--seed", "x"], "--seed': it must be a whole number; for"),
        (["train", "--lr", "fast"], "--lr': it must be a number; for"),
        (["grade", "--jobs", "0"], "--jobs': it must be at least 1; for"),
        (["book", "--port", "65536"], "--port': it must be at most 65535; for"),
    ):
        assert said in type_in(*words).err
    assert f"type {root() / 'chapters'}\n" in type_in("check", "--code", root()).err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["check", "--junit", ""], "empty"),
        (["submit", "--output="], "empty"),
        (["grade", ".", "--json", "-"], "a dash"),
        (["grade", ".", "--csv=-"], "a dash"),
        (["init", "-"], "a dash"),
    ],
)
def test_a_word_that_could_only_name_a_file_by_accident_is_refused(
    words: list[str], what: str, type_in: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = type_in(*words)
    assert (code, out) == (2, "")
    assert f"one of the words is {what}" in err
    assert not list(tmp_path.iterdir())


def test_neither_a_trace_nor_a_hint_is_offered_of_what_could_not_be_run(
    learner: Learner, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, wrong = (
        Verdict("1.1", "error", "ch01.py, line 3: SyntaxError: '(' was never closed", file="ch01.py"),
        Verdict("1.2", "failed", "", seed=7),
    )
    own = learner(patchify="return images")
    print_verdicts(Console(highlight=False), own, [broken, wrong])
    out = capsys.readouterr().out
    assert out.count("ch01.py") == 1
    assert f"next: mend that, then vitcourse check 1.1{own.options}\n" in out
    assert f"next: vitcourse hint 1.2, or vitcourse trace 1.2{own.options}\n" in out


def test_of_what_was_deleted_the_stub_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    file = "chapters/ch01_patches.py"
    gone = Verdict("1.1", "failed", f"patchify is missing from {file}", file=file, seed=7)
    misspelt = replace(gone, diagnosis="There is patchfy: is the name misspelt?")
    print_verdicts(Console(highlight=False), load_code("chapters"), [gone, misspelt])
    out = capsys.readouterr().out
    assert "next: vitcourse reset 1.1, for its stub\n" in out
    assert "next: vitcourse hint 1.1, or vitcourse trace 1.1\n" in out


def test_a_folder_that_takes_no_notes_is_said_and_fails_nothing(notes: Path, type_in: Type) -> None:
    notes.write_text("a file where the folder should be")
    code, out, err = type_in("hint", "1.1")
    assert (code, "hint 1 of 3" in out, len(err.splitlines())) == (0, True, 1)
    assert "this can't be remembered" in err


@pytest.mark.usefixtures("notes")
def test_a_verdict_is_stale_once_anything_it_rests_on_has_changed(learner: Learner) -> None:
    path = learner(
        patchify="return images", prepend_cls="return tokens", gelu="return x", cross_entropy="return logits"
    ).folder
    code = CodeSet("chapters", path, "unused")
    state.keep(code, [Verdict("1.1", "failed", ""), Verdict("2.1", "passed", ""), Verdict("4.2", "passed", "")])

    def statuses() -> dict[str, str]:
        return {asked.id: status for asked, status in state.standing(code)}

    now = statuses()
    assert (now["1.1"], now["2.1"], now["4.2"]) == ("failed", "passed", "passed")
    assert (now["5.2"], now["1.2"]) == ("unchecked", "not-started")
    chapter_2 = path / "ch02_tokens.py"
    chapter_2.write_text(chapter_2.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    now = statuses()
    assert (now["1.1"], now["2.1"], now["4.2"]) == ("failed", "stale", "stale")


def test_a_chapter_that_was_deleted_is_missing_and_not_one_that_nobody_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Type
) -> None:
    init(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chapters" / "ch02_tokens.py").unlink()
    words = {entry["exercise"]: entry["status"] for entry in json.loads(type_in("status", "--json").out)}
    assert {word for id, word in words.items() if id[0] == "2"} == {"missing"}
    assert {word for id, word in words.items() if id[0] != "2"} == {"not-started"}
    assert "next: 1.1 " in type_in("status").out  # what was begun, or not begun, before goes first
    (tmp_path / "chapters" / "ch01_patches.py").unlink()
    assert "ch01_patches.py, which is missing; for its stubs: vitcourse reset 1\n" in type_in().out


def test_only_the_learners_own_chapters_are_remembered_and_none_that_rests_on_a_solution(
    learner: Learner, notes: Path
) -> None:
    code = learner()
    for other in (code, CodeSet("chapters", code.folder, "unused", use_solution=("ch01_patches",))):
        state.keep(other, [Verdict("2.1", "passed", "")])
        assert not notes.exists()


@pytest.mark.usefixtures("notes")
def test_hints_come_one_by_one_and_stay_at_the_last(type_in: Type) -> None:
    for shown, last, more in ((1, 0, 0), (2, 0, 0), (2, 1, 0), (2, 1, 1)):
        code, said, _ = type_in("hint", "1.3")
        assert code == 0
        counted = (said.count(" of 3: "), said.count("1.3, the last hint: "), said.count("no more"))
        assert counted == (shown, last, more)


@pytest.mark.usefixtures("notes")
def test_without_a_number_the_exercise_that_one_is_at_is_meant(learner: Learner) -> None:
    path = learner(patchify="return images", unpatchify="return patches", prepend_cls="return tokens").folder
    code = CodeSet("chapters", path, "unused")

    def at() -> str:
        here = state.at(code)
        return here.id if here else ""

    assert at() == "1.1"
    state.keep(code, [Verdict("1.1", "passed", ""), Verdict("1.2", "failed", ""), Verdict("2.1", "failed", "")])
    assert at() == "1.2"
    state.keep(code, [Verdict("1.2", "passed", "")])
    assert at() == "2.1"
    chapter_1 = path / "ch01_patches.py"
    chapter_1.write_text(chapter_1.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert at() == "2.1", "what had passed is not what one is at"
    state.keep(code, [Verdict("2.1", "passed", "")])
    assert at() == "1.3"


def test_a_chapter_may_be_the_solutions_and_every_result_says_so(
    learner: Learner,
    type_in: Type,
    capsys: pytest.CaptureFixture[str],
    workers: Workers,
) -> None:
    own = learner(patchify="return images").folder
    shutil.copy(root() / "solutions" / "ch04_encoder.py", own)
    # Chapter 3 is not started; 4.4 is built on it.
    words = ["check", "--code", str(own), "--use-solution", "ch03", "--use-solution", "2"]
    ended, printed, _ = type_in(*words, "4", "--json")
    assert ended == 0
    entries = json.loads(printed)
    assert [(entry["exercise"], entry["status"]) for entry in entries] == [(f"4.{i}", "passed") for i in (1, 2, 3, 4)]
    for entry in entries:
        assert entry["use_solution"] == ["ch02_tokens", "ch03_attention"]
        assert entry["headline"] == "passed (with the solutions of chapters 2 and 3)"
    code = load_code(own, ["2", "3"])
    print_verdicts(Console(width=200), code, [Verdict(**entry) for entry in entries])
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert [line.count("with the solutions of chapters 2 and 3") for line in lines] == [1, 1, 1, 1, 0, 1], lines
    # What is to be typed next asks the same of the same chapters, and trace knows no other chapter's solution.
    given = f"--code {own}"
    print_verdicts(
        Console(width=200),
        code,
        [Verdict("4.1", "failed", "", seed=7), Verdict("5.1", "blocked", "blocked by 4.4", stub="4.4")],
    )
    said = capsys.readouterr().out
    assert f"check 4.1 {given} --use-solution ch02 --use-solution ch03 --seed 7\n" in said
    assert f"trace 4.1 {given}\n" in said
    assert f"check 4.4 {given} --use-solution ch02 --use-solution ch03, or" in said
    assert f"check 5.1 {given} --use-solution ch02 --use-solution ch03 --use-solution ch04\n" in said
    print_verdicts(Console(width=200), code, [Verdict("3.2", "blocked", "blocked by 3.1", stub="3.1")])
    assert "--use-solution ch03, or" not in capsys.readouterr().out

    # What is the solution's gets no verdict; and what comes before it doesn't rest on it.
    verdicts = grade(code, select("1.2") + select("2") + select("5.2"), Judge(workers))
    assert [verdict.exercise for verdict in verdicts] == ["1.2", "5.2"]
    assert ["solution" in verdict.headline for verdict in verdicts] == [False, True]
    ended, _, said = type_in(*words, "2")
    assert (ended, len(said.splitlines())) == (2, 1)


def test_a_chapter_of_the_solutions_stands_in_the_place_of_ones_own(learner: Learner) -> None:
    own = learner(scaled_dot_product_attention="return 'mine', None").folder
    mixed = load_code(own, ["ch04", "ch02_tokens"])
    assert mixed.use_solution == ("ch02_tokens", "ch04_encoder")
    texts, _ = mixed.texts()
    assert texts["ch04_encoder"] == load_code("solutions").source("ch04_encoder")
    assert "mine" in texts["ch03_attention"]
    for words, name in ((["ch09"], own), (["2"], "solutions")):
        with pytest.raises(RequestError, match="type"):
            load_code(name, words)
