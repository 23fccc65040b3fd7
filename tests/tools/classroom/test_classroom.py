"""`vitcourse grade`: a row for each submission whatever it does, in a box that holds, resumable, in every form."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from commands import Ended

from vitcourse.checking import pytest_plugin
from vitcourse.checking.judge import Judge
from vitcourse.checking.workers import Workers
from vitcourse.classroom import grading
from vitcourse.classroom.box import box, boxed
from vitcourse.classroom.command import _own_names
from vitcourse.classroom.grading import Order, grade, rows
from vitcourse.classroom.layouts import Submission, submissions
from vitcourse.classroom.packing import make_autograder
from vitcourse.classroom.rows import Row, as_csv, file_names
from vitcourse.course import exercise, exercises
from vitcourse.errors import RequestError
from vitcourse.places import root
from vitcourse.stubs import pristine

pytestmark = pytest.mark.xdist_group("judged")
RIGHT = "return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))"
WRONG = "return 0 * x"


def _box() -> tuple[str, ...]:
    try:
        return box("auto")
    except RequestError:
        return ()


BOX = _box() if sys.platform == "linux" else ()
needs_box = pytest.mark.skipif(not BOX, reason="there is no bubblewrap here, or it can make no box")


def hand_in(body: str, before: str = "", **beside: str) -> Submission:
    """A submission in which only gelu is written."""
    lines = "\n    ".join(body.splitlines())
    text = f"import math\nimport os\n\nimport torch\n\n{before}\n\n\ndef gelu(x):\n    {lines}\n"
    found = {"ch04_encoder": text}
    missing = {entry.module: "not here" for entry in exercises() if entry.module not in found}
    shown = {"ch04_encoder": "chapters/ch04_encoder.py"}
    return Submission("lee", found=found, helpers=beside, shown=shown, missing=missing)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One box for all that is tried; it is made anew whenever it is gone."""
    with boxed(BOX) as started:
        yield started


@pytest.fixture
def outside(request: pytest.FixtureRequest) -> Workers:
    """Workers in no box: those of all tests."""
    return pytest_plugin.workers(request.config)


@pytest.fixture
def gelu(workers: Workers) -> Callable[..., Row]:
    """The row of a submission whose gelu has this body, on 4.2 alone."""

    def graded(body: str, before: str = "", timeout: float = 20.0) -> Row:
        return grade(hand_in(body, before), Order(("4.2",), BOX, 7, timeout), workers)

    return graded


# What a hostile answer tries, as statements whose success it prints; and a word that must not be printed.
TRIES = {
    "the network": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 2)",
    "the network by a socket file": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('SOCKET')",
    "the environment": "assert 'VITCOURSE_SECRET' in open('/proc/self/environ').read() + str(os.environ)",
    "the solutions": "open('ROOT/solutions/ch04_encoder.py').read()",
    "the tests": "os.listdir('ROOT/tests')",
    "what others handed in": "open('OTHER').read()",
    "writing there": "open('OTHER', 'w').write('x')",
    "writing into the environment": "open(torch.__file__, 'a').write('')",
    "writing at the top": "open('/mark', 'w').write('x')",
    "much in its own folder": "for n in range(40):\n    open(f'/tmp/{n}', 'wb').write(bytes(2**23))",
    "the processes outside": "assert len([n for n in os.listdir('/proc') if n.isdigit()]) > 8",
    "the limits": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**40, 2**40))",
    "the disks": "open('/etc/passwd').read()",
}


@needs_box
def test_a_box_holds(tmp_path: Path, gelu: Callable[..., Row], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("VITCOURSE_SECRET", "word")
    other = tmp_path / "other.py"
    other.write_text("mine", encoding="utf-8")
    files = sorted(path.name for path in tmp_path.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        words = {"PORT": str(server.getsockname()[1]), "ROOT": str(root()), "OTHER": str(other)}
        words["SOCKET"] = str(tmp_path / "s")
        parts = []
        for name, text in TRIES.items():
            for word, value in words.items():
                text = text.replace(word, value)
            lines = "\n        ".join(text.splitlines())
            parts.append(
                f"    try:\n        {lines}\n        did.append({name!r})\n    except BaseException:\n        pass"
            )
        before = "def tries():\n    did = []\n" + "\n".join(parts) + "\n    return did"
        body = "import ctypes\nprint('did', tries())\nreturn 0 * x"
        (verdict,) = gelu(body, before)["verdicts"]
    assert verdict["status"] == "failed"
    assert "did []" in verdict["diagnosis"], verdict
    assert other.read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, "s"])


# Ways to harm whoever grades; native code, so that no hook of Python's is asked.
C = "import ctypes, signal\nC = ctypes.CDLL(None)\n"
HARM = {
    "the process above is killed": (C + "C.kill(os.getppid(), 9)", WRONG),
    "the process above is stopped": (C + "C.kill(os.getppid(), 19)", WRONG),
    "everything is killed": (C + "C.kill(-1, 9)", WRONG),
    "it forks and forks": (C, "while True:\n    C.fork()"),
    "memory in many processes": (
        C + "import time",
        "for _ in range(6):\n"
        "    if C.fork() == 0:\n        kept = b'x' * 2**30\n        time.sleep(60)\n"
        "time.sleep(60)\nreturn x",
    ),
    "it prints without end": ("", "while True:\n    print('x' * 10**6)"),
    "it never reads": ("", "import time\ntime.sleep(100)\nreturn x"),
    "the message is no message": (
        "",
        "for file in range(3, 30):\n    try:\n        os.write(file, b'\\xff' * 99)\n"
        "    except OSError:\n        pass\nos._exit(0)",
    ),
    "the parser is brought down": ("", "return " + "(" * 500 + "x" + ")" * 500),
    "a process is left behind": (
        C + "import time\nif C.fork() == 0:\n    os.setsid()\n"
        "    if C.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
        WRONG,
    ),
}


# What is noticed only when its time is up.
SLOW = ("the process above is stopped", "memory in many processes", "it prints without end", "it never reads")


@needs_box
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] if name in SLOW else []) for name in HARM]
)
def test_whoever_grades_is_not_harmed(
    name: str, gelu: Callable[..., Row], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcourse.checking.workers.ANSWER", 3.0)  # so that a stopped process is given up sooner
    before, body = HARM[name]
    row = gelu(body, before, timeout=3.0)
    (verdict,) = row["verdicts"]
    assert verdict["status"] in ("failed", "error", "timeout"), verdict
    until = time.monotonic() + 3
    while len(inside := _inside(workers)) > 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(inside) <= 2, inside  # the box's init and the process that makes the forks: nothing was left behind


def _inside(workers: Workers) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(workers.pid).children(recursive=True) if workers.pid is not None else []
    return []


@needs_box
def test_after_a_box_is_gone_the_next_exercise_has_a_new_one(workers: Workers) -> None:
    handed = hand_in(RIGHT)
    handed.found["ch01_patches"] = (
        f"import os\n{C}C.kill(os.getppid(), 9)\n\n\ndef patchify(images, patch_size):\n    pass\n"
    )
    handed.shown["ch01_patches"] = "chapters/ch01_patches.py"
    del handed.missing["ch01_patches"]
    row = grade(handed, Order(("1.1", "4.2"), BOX, 7, 20), workers)
    killed, after = (verdict["status"] for verdict in row["verdicts"])
    assert killed in ("error", "failed"), row["verdicts"]  # whether it is heard before the box is gone is chance
    assert after == "passed", row["verdicts"]
    assert row["points"] == exercise("4.2").points


@pytest.mark.usefixtures("uncaused")
def test_a_chapter_that_is_not_there_costs_only_what_needs_it(outside: Workers) -> None:
    found = {
        name: (root() / "solutions" / f"{name}.py").read_text(encoding="utf-8") for name in ("ch01_patches", "ch05_vit")
    }
    missing = dict.fromkeys(("ch02_tokens", "ch03_attention"), "not here")
    handed = Submission("lee", found=found, missing=missing, unreadable={"ch04_encoder": "no text"})
    row = grade(handed, Order(("3.1", "4.2", "5.1", "5.2"), (), 7), outside)
    statuses = [verdict["status"] for verdict in row["verdicts"]]
    assert statuses == ["missing", "unreadable", "blocked", "passed"], row["verdicts"]


def test_what_reaches_around_is_a_column_with_its_line(outside: Workers) -> None:
    before = "import threading\nimport torch._refs as R\nimport helper\ntorch.allclose = None"
    handed = hand_in("eval('1')\nreturn 0 * x", before, helper="")
    row = grade(handed, Order(("4.2",), (), 7), outside)
    said = "\n".join(row["integrity"])
    for word in ("line 6: threading", "line 7: torch's own inside (_refs)", "torch.allclose is patched", "eval runs"):
        assert word in said, said
    assert "helper is imported" not in said
    assert row["box"] == "none"


@pytest.fixture
def class_of_three(tmp_path: Path) -> Path:
    """One who is right, one who has written nothing, one whose archive is broken."""
    folder = tmp_path / "class"
    solution = (root() / "solutions" / "ch01_patches.py").read_text(encoding="utf-8")
    for name, text in (("ada", solution), ("ben", pristine("ch01_patches"))):
        (folder / name / "chapters").mkdir(parents=True)
        (folder / name / "chapters" / "ch01_patches.py").write_text(text, encoding="utf-8")
    (folder / "=cmd.zip").write_bytes(b"no archive")
    return folder


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for rows that are kept."""
    monkeypatch.setenv("VITCOURSE_GRADES", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_a_class_in_every_form_and_never_twice(
    class_of_three: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Callable[..., Ended]
) -> None:
    kind = "auto" if BOX else "none"
    out = {name: tmp_path / name for name in ("a.csv", "a.json", "scope", "junit")}
    words = ["--what", "1", "--box", kind, "--jobs", 2, "--csv", out["a.csv"], "--json", out["a.json"]]
    words += ["--gradescope", out["scope"], "--junit", out["junit"]]
    shown = " ".join(type_in("grade", class_of_three, *words).out.split())
    assert "ada" in shown
    assert "can't be opened" in shown  # as the table tells why there is nothing
    made = json.loads(out["a.json"].read_text(encoding="utf-8"))
    assert [row["submission"] for row in made] == ["=cmd.zip", "ada", "ben"]
    statuses = [{verdict["status"] for verdict in row["verdicts"]} for row in made]
    assert statuses == [{"unreadable"}, {"passed"}, {"not-started"}]
    most = sum(entry.points for entry in exercises() if entry.module == "ch01_patches")
    assert [row["points"] for row in made] == [0, most, 0]
    assert {"seed", "hash", "version", "commit", "date", "seconds", "box"} <= made[1].keys()
    table = list(csv.reader(out["a.csv"].read_text(encoding="utf-8-sig").splitlines()))
    assert len(table) >= 4
    assert any(line[0] == "'=cmd.zip" for line in table)
    scope = json.loads((out["scope"] / "ada" / "results.json").read_text(encoding="utf-8"))
    assert scope["score"] == most
    assert [test["max_score"] for test in scope["tests"]] == [entry.points for entry in exercises()[:4]]
    assert len(list(out["junit"].glob("*.xml"))) == 3
    suite = ElementTree.parse(out["junit"] / "ben.xml").getroot()[0]
    assert [suite.get(count) for count in ("tests", "failures", "errors", "skipped")] == ["4", "0", "0", "4"]
    assert suite.find("testcase").find("skipped").get("message") == "exercise 1.1 not started"
    monkeypatch.setattr(grading, "ProcessPoolExecutor", None)  # nothing is graded again
    assert type_in("grade", class_of_three, *words).code == 0
    assert json.loads(out["a.json"].read_text(encoding="utf-8")) == made


def test_no_row_takes_the_name_or_the_file_of_another() -> None:
    handed = _own_names([Submission(name) for name in ("ada", "ada", "ada (2)")])
    assert [one.name for one in handed] == ["ada", "ada (2)", "ada (2) (2)"]
    assert len(set(file_names([{"submission": name} for name in ("ben_-3", "ben?", "ben:")]))) == 3


def test_another_seed_or_text_is_another_row(class_of_three: Path) -> None:
    one = submissions(class_of_three)[1]
    key = Order(("1.1",), (), None).key(one)
    assert key != Order(("1.1",), (), 5).key(one)
    assert key != Order(("1.2",), (), None).key(one)
    one.found["ch01_patches"] += "\n"
    assert key != Order(("1.1",), (), None).key(one)


@pytest.mark.parametrize("names", [("ada", "ben"), ("chapters", "notes")])
def test_several_folders_that_are_taken_for_one_submission_are_said(
    names: tuple[str, str], kept: Path, tmp_path: Path, type_in: Callable[..., Ended]
) -> None:
    for name in names:
        (tmp_path / "class" / name).mkdir(parents=True)
    (tmp_path / "class" / names[0] / "ch01_patches.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "class" / names[1] / "essay.txt").write_text("x", encoding="utf-8")
    said = type_in("grade", tmp_path / "class", "--what", "2.1", "--box", "none").out
    assert (f"type: vitcourse grade {tmp_path}/class/*" in said) == (names[0] == "ada")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of Unix")
def test_a_grader_that_is_ended_leaves_no_process_and_goes_on(class_of_three: Path, kept: Path, tmp_path: Path) -> None:
    (class_of_three / "ada" / "chapters" / "ch01_patches.py").write_text("while True:\n    pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "vitcourse", "grade", class_of_three, "--what", "1", "--jobs", "1"]
    command += ["--box", "auto" if BOX else "none", "--json", tmp_path / "a.json"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and not (kept.is_dir() and list(kept.glob("*.json"))):
        time.sleep(0.2)
    below = psutil.Process(started.pid).children(recursive=True)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "the same command goes on" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(below, timeout=5)
    assert not alive, alive
    assert 1 <= len(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) < 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grade"], "vitcourse grade FOLDER"),
        (["grade", "nowhere"], "there is no nowhere"),
        (["grade", ".", "--csv", "/nowhere/a.csv"], "can't write /nowhere/a.csv"),
        (["grade", ".", "--what", "99"], "no exercise or chapter"),
        (["grade", ".", "--box", "maybe"], "--box none"),
        (["grade", ".", "--csv", "a.csv", "--junit", "a", "--json", "."], "it is a folder"),
        (["grade", ".", "--csv", "a", "--json", "./a"], "name one file, a; name two"),
        (["grade", ".", "--csv", "notes.md"], "--csv notes.csv"),
        (["grade", ".", "--json", "a.csv"], "--json a.json"),
        (["check", "1.1", "--junit", "notes.md"], "--junit notes.xml"),
        (["trace", "1.1", "--html", "notes.md"], "--html notes.html"),
        (["bench", "steps", "--output", "notes.md"], "--output notes.json"),
        (["grade", "--make", "a.txt"], "--make a.zip"),
        (["grade", "--make", "nowhere/a.zip"], "there is no folder nowhere; name another"),
        (["grade", ".", "--make", "a.zip"], "--make grades nothing"),
        (["grade", "--make", "a.zip", "--csv", "a.csv"], "--make grades nothing"),
        (["submit", "--output", "nowhere/a.zip"], "there is no folder nowhere; name another"),
        (["submit", "--output", "."], "--output FILE.zip"),
        (["submit", "--output", ".."], "--output ../FILE.zip"),
        (["submit", "--output", "my work"], "--output 'my work.zip'"),
        (["submit", "--output", "mine.txt"], "--output mine.zip"),
        (["submit", "--output", "in/mine"], "--output in/mine.zip"),
        (["book", "--pdf", "book.txt"], "--pdf book.pdf"),
        (["book", "3"], "--pdf 3.pdf"),
        (["trace", "1.1", "--svg", "flow.png"], "--svg flow.svg"),
        (["status", "1", "2"], "more was typed than it takes: (1 2)"),
    ],
)
def test_a_wrong_request_is_one_line(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, type_in: Callable[..., Ended], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, _, error = type_in(*words)
    assert (code, said in error, error.count("\n")) == (2, True, 1), error
    assert sorted(tmp_path.rglob("*")) == before


def test_without_bubblewrap_a_box_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match="--box none"):
        box("auto")
    assert box("none") == ()


def test_a_zip_to_hand_in_holds_chapters_statuses_versions(tmp_path: Path, type_in: Callable[..., Ended]) -> None:
    assert type_in("submit", "--output", tmp_path / "mine.zip").code == 0
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        names = archive.namelist()
        about = json.loads(archive.read("submission.json"))
    assert {name.partition("/")[0] for name in names} == {"chapters", "submission.json"}
    assert set(about["statuses"]) == {entry.id for entry in exercises()}
    assert set(about["versions"]) == {"vitcourse", "torch", "python"}
    (found,) = submissions(tmp_path / "mine.zip")
    assert not found.missing


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for a shell")
def test_the_autograder_runs_on_a_folder_as_gradescope_lays_it_out(tmp_path: Path, kept: Path) -> None:
    make_autograder(tmp_path / "a.zip", "1.1")
    place = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(place / "source")
    assert (place / "source" / "course" / "vitcourse" / "course.toml").is_file()
    assert (place / "source" / "setup.sh").read_text(encoding="utf-8").startswith("#!")
    (place / "submission").mkdir()
    text = (root() / "solutions" / "ch01_patches.py").read_text(encoding="utf-8")
    (place / "submission" / "ch01_patches (2).py").write_text(text, encoding="utf-8")
    command = Path(sys.executable).parent / "vitcourse"
    environment = {**os.environ, "AUTOGRADER": str(place), "VITCOURSE": str(command)}
    subprocess.run(["bash", place / "source" / "run_autograder"], env=environment, check=True, capture_output=True)
    result = json.loads((place / "results" / "results.json").read_text(encoding="utf-8"))
    assert result["score"] == exercise("1.1").points
    assert result["tests"][0]["status"] == "passed"


def test_rows_come_for_what_breaks_the_grader(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Judge, "verdict", broken)
    with boxed(()) as workers:
        row = grade(hand_in(RIGHT), Order(("4.2",), (), 7), workers)
    assert row["verdicts"][0]["status"] == "error"
    assert "no room" in as_csv([row])
    assert list(rows([], Order(("4.2",), ()), 2)) == []
