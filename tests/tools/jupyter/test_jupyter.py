"""The course in a notebook: a cell's answer becomes the chapter's, is checked and shown; the whole one runs through."""

import ast
import contextlib
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from vitcourse import doctor
from vitcourse.book.whole import whole_course
from vitcourse.codesets import load_code
from vitcourse.course import chapter
from vitcourse.definitions import definition, with_definitions
from vitcourse.errors import RequestError
from vitcourse.jupyter import magics
from vitcourse.jupyter.cells import read_cell, with_cell
from vitcourse.jupyter.page import Curve
from vitcourse.places import root
from vitcourse.stubs import pristine, write_stubs

pytestmark = pytest.mark.xdist_group("test_book")  # kernels are forks of one process, which is there

CHAPTER = '''\
import torch
from torch import nn

LIMIT = 3


def given(x):
    return x


def first(x):
    raise NotImplementedError


def second(x):
    """Unlike first."""
    return first(x)  # mine
'''


def put(cell: str, *names: str) -> dict[str, Any]:
    """The names of the chapter after the cell was put into it."""
    after = with_cell(CHAPTER, read_cell(cell, names), names)
    assert "return first(x)  # mine" in after
    found: dict[str, Any] = {"text": after}
    exec(after, found)
    return found


def test_an_answer_takes_the_place_of_the_stub_and_of_nothing_else() -> None:
    found = put("def first(x):\n    return x + 2", "first")
    assert found["second"](5) == 7
    assert found["text"].count("def first") == 1
    assert found["text"].startswith("import torch\nfrom torch import nn\n\nLIMIT = 3\n")


def test_what_an_answer_needs_comes_with_it_once() -> None:
    cell = (
        "import math\nimport torch\nfrom torch import nn, Tensor\nLIMIT = 11\nSTEP: int = 2\n\n"
        "def helper(x):\n    return x * STEP\n\n"
        "@torch.no_grad()\ndef first(x):\n    return math.floor(helper(x)) + LIMIT"
    )
    found = put(cell, "first")
    assert found["second"](2.5) == 16
    again = with_cell(found["text"], read_cell(cell, ["first"]), ["first"])
    assert again == found["text"]


def test_what_is_no_part_of_an_answer_is_left_to_the_notebook() -> None:
    cell = read_cell('"""a thought"""\ndef first(x):\n    return x\n\nprint(first(3))\nfirst(4)', ["first"])
    assert cell.rest == "print(first(3))\nfirst(4)"
    assert "print" not in with_cell(CHAPTER, cell, ["first"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def frist(x): return x", "defines no first"),
        ("", "defines no first"),
        ("x = 1\ndef first(:", "line 3 of the cell: SyntaxError"),
    ],
)
def test_a_cell_without_an_answer_is_one_line(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_cell(text, ["first"])


def test_a_chapter_that_cannot_be_read_is_left_alone() -> None:
    with pytest.raises(RequestError, match=r"^ch\.py can't be changed \(line 3: SyntaxError: ") as refused:
        with_cell("X = 1\n\ndef first(:\n", read_cell("def first(x): return x", ["first"]), ["first"], "ch.py")
    with pytest.raises(RequestError, match="nested too deeply"):
        with_cell(f"X = {'-' * 100_000}1\n", read_cell("def first(x): return x", ["first"]), ["first"])
    assert "<unknown>" not in str(refused.value)


def test_every_solution_can_be_written_by_cells() -> None:
    solutions = load_code("solutions")
    cells = [
        source for kind, source in whole_course(solved=False) if kind == "code" and source.startswith("%%exercise")
    ]
    for module in ("ch01_patches", "ch03_attention"):
        text = pristine(module)
        solution = solutions.source(module) or ""
        own = [cell.split()[1] for cell in cells]
        for asked in chapter(module).exercises:
            assert asked.id in own
            answer = "\n\n".join(definition(solution, name) for name in asked.names)
            text = with_cell(text, read_cell(answer, asked.names), asked.names)
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(solution))


def test_the_solved_notebook_needs_nothing_of_the_course() -> None:
    code = "\n".join(source for kind, source in whole_course(solved=True) if kind == "code")
    assert not re.search(r"\bvitcourse\b(?! hint)|\bchapters\b|from \.|solutions", code)


def test_the_curve_reads_what_a_run_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(Curve, "_draw", lambda self, title: drawn.append(title))
    curve = Curve()
    curve.read("device cpu (threads: 1)\n")
    curve.read("epoch  7/20  loss 0.6932  accuracy 90.00%  1,197 images/s  1.2 s\n")
    ((epoch, loss, accuracy),) = ((e.epoch, e.loss, e.accuracy) for e in curve.epochs)
    assert (epoch, loss, accuracy) == (7, 0.6932, 0.9)
    assert drawn == ["epoch 7 of 20"]


@pytest.mark.parametrize("word", ["status", "undo"])
def test_a_chapter_that_changed_is_used_as_it_stands(word: str, course: Path) -> None:
    file = course / "chapters" / "ch01_patches.py"
    said = []
    for number in (7, 11):
        file.write_text(f"patchify = {number}\n", encoding="utf-8")
        with contextlib.suppress(RequestError):  # there is nothing to undo
            magics.command(word, "")
        said.append(load_code("chapters").module("ch01_patches").patchify)
    assert said == [7, 11]


@pytest.mark.parametrize("word", [*magics.COMMANDS, "train"])
def test_an_open_quote_is_one_line(word: str, shell: "Shell", capsys: Any) -> None:
    shell.magics[word]("--name 'seven")
    assert capsys.readouterr().err.splitlines() == [
        "--name 'seven: No closing quotation; close what is quoted, or leave the quotes out"
    ]


def test_what_a_command_prints_in_a_notebook_is_text_and_names_magics(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    note = doctor.Finding("Course", "note", "a note", "vitcourse train")
    monkeypatch.setattr(doctor, "examine", lambda: [note])
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *_: pytest.fail("it would be an output of its own"))
    magics.command("doctor", "")
    assert "type: %train" in capsys.readouterr().out


@pytest.mark.usefixtures("attended")
def test_a_stop_while_torch_is_loaded_waits_until_it_is(
    shell: "Shell", monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    done = []

    def stopped_half_way() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("loaded")

    monkeypatch.setattr(magics, "load_checks", stopped_half_way)
    shell.magics["check"]("1.1")
    assert done == ["loaded"]
    assert capsys.readouterr().err.startswith("stopped; ")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # the button works again


def test_an_answer_leaves_the_line_ends_and_the_mark_of_the_file(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magics, "_check", lambda *_: None)
    file = course / "chapters" / "ch01_patches.py"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    magics.write_exercise(Shell(), "1.1", "import math\n\nA = 2\n\n\ndef patchify(x, y):\n    return math.pi\n")
    after = file.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\n") == after.count(b"\r\n")
    assert b"\r\n    return math.pi\r\n" in after


RUN = """import time
try:
    print("the first line", flush=True)
    time.sleep(50)
except KeyboardInterrupt:
    print("what was learned is kept")
    exit(1)
"""


@pytest.mark.usefixtures("attended")
@pytest.mark.parametrize(
    ("program", "line", "presses", "out", "err"),
    [
        ("import time; time.sleep(50)", "", 1, "", "stopped; run the cell again"),
        (RUN, "the first line\n", 1, "what was learned is kept\n", ""),
        (
            RUN.replace('    print("what', '    time.sleep(50)\n    print("what'),
            "the first line\n",
            2,
            "the first line\n",
            "stopped; run the cell again",
        ),
    ],
)
def test_the_stop_button_ends_a_run_and_what_was_learned_is_kept(
    program: str,
    line: str,
    presses: int,
    out: str,
    err: str,
    shell: "Shell",
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    def press(at: str) -> None:
        for _ in range(presses * (at == line)):
            signal.raise_signal(signal.SIGINT)

    def started(words: list[str], **options: Any) -> Any:
        begun.append(popen([*words[:2], "-c", program], **options))
        press("")
        return begun[0]

    begun: list[Any] = []
    popen = magics.subprocess.Popen
    monkeypatch.setattr(magics.subprocess, "Popen", started)
    monkeypatch.setattr(Curve, "read", lambda _, said: press(said))
    shell.magics["train"]("")
    said = capsys.readouterr()
    assert begun[0].poll() is not None
    assert said.out.endswith(out)
    assert said.err.startswith(err) if err else not said.err


class Shell:
    """What the magics ask of a notebook's shell."""

    def __init__(self) -> None:
        self.magics: dict[str, Any] = {}
        self.user_ns: dict[str, Any] = {}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        """Keep it by its name."""
        self.magics[name] = function


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's folder with the stubs, which is the current one."""
    write_stubs(tmp_path / "chapters")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(course: Path) -> Shell:
    """A notebook's shell, which has the magics."""
    shell = Shell()
    magics.register(shell)
    return shell


def run_cells(folder: Path, *sources: str) -> list[str]:
    """Run the cells in the folder; what each shows, as text."""
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [
        "".join(out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs)
        for cell in notebook.cells
    ]


@pytest.mark.book
@pytest.mark.usefixtures("forked_kernels")
def test_a_course_is_done_in_a_notebook(course: Path) -> None:
    solution = (root() / "solutions" / "ch01_patches.py").read_text(encoding="utf-8")
    right = definition(solution, "patchify")
    stub = definition(pristine("ch01_patches"), "patchify")
    wrong = right.replace("(C P1 P2)", "(P1 P2 C)")
    elsewhere = "def unpatchify(patches, grid, patch_size):\n    return patches"
    file = course / "chapters" / "ch01_patches.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(with_definitions(text, elsewhere, ["unpatchify"]), encoding="utf-8")
    shown = run_cells(
        course,
        "%load_ext vitcourse",
        f"%%exercise 1.1\n{stub}",
        f"%%exercise 1.1\n{wrong}",
        "%hint",
        f"%%exercise 1.1\n{right}\n\nimport torch\nprint(tuple(patchify(torch.zeros(2, 3, 4, 6), 2).shape))",
        "%%exercise 1.2\nx = 1",
        "%undo",
        "%check 1.1",
        "%solution 1.3",
        "%trace 1.1",
        f"%%exercise 1.2\n{definition(solution, 'unpatchify')}",
    )
    assert [place for place, text in enumerate(shown) if "held another answer" in text] == [10]
    assert "still the stub" in shown[1]
    assert "failed  1.1" in shown[2]
    assert "(P, P, C)" in shown[2]
    assert "hint 1 of 3" in shown[3]
    assert "passed  1.1" in shown[4]
    assert "next: 1.2" in shown[4]
    assert "(2, 6, 12)" in shown[4]
    assert "defines no unpatchify" in shown[5]
    assert "is again as it was" in shown[6]
    assert "failed" in shown[7]
    assert "1.3 has not passed" in shown[8]
    assert "the same shapes" in shown[9]
    assert definition(file.read_text(encoding="utf-8"), "patchify") == wrong


@pytest.mark.book
@pytest.mark.usefixtures("forked_kernels")
def test_the_solved_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    sources = [source for kind, source in whole_course(solved=True) if kind == "code"]
    said = run_cells(tmp_path, *sources)
    accuracies = re.findall(r"accuracy ([\d.]+)%", "".join(said))
    assert float(accuracies[-1]) > 95
    assert not list(tmp_path.iterdir())
