"""The README says what is: its commands run, its figures are counted or come from files, its links lead somewhere."""

import importlib.util
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from commands import Ended

from vitcourse.checking.misconceptions import misconceptions
from vitcourse.codesets import load_code
from vitcourse.course import chapters, minutes
from vitcourse.definitions import definition, with_definitions
from vitcourse.places import root
from vitcourse.stubs import pristine
from vitcourse.training.presets import PRESETS, option, settings

README = (root() / "README.md").read_text(encoding="utf-8")
INDEX = (root() / "book" / "index.md").read_text(encoding="utf-8")
# Where commands are told, and where links lead from.
PAGES = [root() / "README.md", root() / "CONTRIBUTING.md", *sorted((root() / "book").glob("*.md"))]
# What takes minutes is typed by .ci/run: as it stands here, or so that it ends.
IN_CI = {
    "uv run vitcourse train": 'uv run vitcourse train --output "$scratch/digits"',
    "uv run pytest": 'uv run pytest -m ""',
    "uv run vitcourse book --open": "uv run vitcourse book --no-serve",
}
solution = load_code("solutions").text
TRANSPOSED = "        x = x.transpose(1, 2)                                       # (B, N, D)\n"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language, without their indentation."""
    fence = re.compile(rf"^( *)```{language}\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in fence.findall(text)]


def commands(text: str) -> list[str]:
    """What the shell blocks of a page tell to type, one command each, without comments."""
    lines = [line.partition(" #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
    return [command for line in lines for command in line.split(" && ") if command and not command.startswith("#")]


@pytest.fixture
def type_in(type_in: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Ended]:
    """A command as uv would run it."""
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    return lambda command: type_in(*command.removeprefix("uv run vitcourse").split())


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """benchmarks/readme.py, which makes the picture and the figures."""
    spec = importlib.util.spec_from_file_location("readme", root() / "benchmarks" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.course
def test_its_figures_are_counted_or_come_from_files(made: ModuleType) -> None:
    said = " ".join(README.split())
    assert made.accuracy() in said, "type python benchmarks/readme.py, and put what it prints into README.md"
    assert "more than 1,000 of them" in said
    assert len(misconceptions()) > 1000
    assert f"in about {minutes('first_check')} minutes" in said


def test_its_picture_is_one_for_light_and_for_dark_pages(made: ModuleType) -> None:
    drawn = made.PICTURE.read_text(encoding="utf-8")
    assert f"<style>\n{made.LOOK}\n</style>" in drawn, "type python benchmarks/readme.py"
    assert "prefers-color-scheme: dark" in drawn
    for _, what, chapter in made.HEADS:
        assert f">{what}</text>" in drawn
        assert f">{chapter}</text>" in drawn


@pytest.mark.course
def test_the_map_of_the_course_is_the_list_of_chapters_there_and_in_the_book() -> None:
    for chapter in chapters():
        name = f"{chapter.number} {chapter.title}"
        row = f"| {name} | {chapter.writes} | {chapter.minutes} min |"
        assert row in README, f"README.md's table lacks {row}"
        assert f"| [{name}]({chapter.module.removeprefix('ch')}.md) | {chapter.writes} | {{glue:" in INDEX


def test_the_stub_that_it_shows_is_the_courses() -> None:
    (stub,) = blocks(README, "python")
    assert textwrap.indent(stub, "    ") in pristine("ch01_patches")


@pytest.mark.usefixtures("one_process")
def test_what_a_check_says_in_it_is_what_a_check_says(
    folder: Path, type_in: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitcourse.checking.examples.SECONDS", 20.0)  # on a busy machine too
    (shown,) = blocks(README, "text")
    command, _, said = shown.partition("\n")
    file = folder / "chapters" / "ch01_patches.py"
    answer = definition(solution("ch01_patches"), "PatchEmbedding")
    assert TRANSPOSED in answer
    wrong = with_definitions(pristine("ch01_patches"), answer.replace(TRANSPOSED, ""), ["PatchEmbedding"])
    file.write_text(wrong, encoding="utf-8")
    code, printed, _ = type_in(command.removeprefix("$ "))
    assert printed == said, f"put what it prints into README.md:\n{printed}"
    assert code == 1


@pytest.mark.usefixtures("one_process")
def test_each_of_its_commands_runs(
    folder: Path, type_in: Callable[[str], Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    (folder / "chapters" / "ch01_patches.py").write_text(solution("ch01_patches"), encoding="utf-8")
    ci = [line.strip() for line in (root() / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    ran = []
    for command in commands(README):
        if command == "pip install uv":
            continue
        if command in IN_CI:
            assert IN_CI[command] in ci
            continue
        if "--code chapters" in command:  # one epoch of the recipe's, from answers to all chapters
            for chapter in chapters():
                (folder / "chapters" / f"{chapter.module}.py").write_text(solution(chapter.module), encoding="utf-8")
            command += " --epochs 1"
        code, said, _ = type_in(command)
        assert code == 0, (command, said)
        ran.append(command)
    assert len(ran) >= 4
    assert [Path(address).name for address in opened] == ["explore.html"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_that_a_page_names_exists(page: Path) -> None:
    from typer.main import get_command

    from vitcourse.cli import app

    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:uv run |`|^)vitcourse ([a-z]+)\b(?! is| tells)", text, re.MULTILINE))
    assert named <= set(get_command(app).commands)
    presets = re.findall(r"(?:uv run |`|^)vitcourse train ([a-z][a-z0-9-]*)", text, re.MULTILINE)
    assert set(presets) <= set(PRESETS)
    known = {option(setting.name) for setting in settings()} | {"--help", "--output", "--resume", "--nproc-per-node"}
    for command in commands(text):
        _, trains, options = command.partition("vitcourse train")
        if trains:
            assert set(re.findall(r"--[a-z-]+", options)) <= known, command


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.stem)
def test_each_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (root() / link).exists()] == []


@pytest.mark.parametrize(("page", "most"), [(PAGES[0], 110), (PAGES[1], 120)], ids=["README", "CONTRIBUTING"])
def test_a_first_page_stays_one_page(page: Path, most: int) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= most
