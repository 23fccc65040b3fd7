"""The README says what is: its table of results is made from the files, and each command that it names exists."""

import importlib.util
import re

from vitcourse.course import chapters, exercises
from vitcourse.places import root
from vitcourse.training.presets import PRESETS, option, settings

README = (root() / "README.md").read_text(encoding="utf-8")


def test_the_table_of_results_is_made_from_the_files() -> None:
    spec = importlib.util.spec_from_file_location("readme", root() / "benchmarks" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table() in README, "type python benchmarks/readme.py, and put what it prints into README.md"


def test_the_map_of_the_course_is_the_list_of_chapters() -> None:
    for chapter in chapters():
        assert f"| {chapter.number} {chapter.title} | {chapter.writes} | {chapter.minutes} min |" in README


def test_it_counts_the_other_ways_to_write_the_answers() -> None:
    sets = [path for path in root().glob("tests/**/alternatives/*") if path.is_dir() and path.name != "__pycache__"]
    pages = [README, *(page.read_text(encoding="utf-8") for page in (root() / "book").glob("*.md"))]
    for counted in re.findall(r"\b(\d+) other ways", "\n".join(pages)):
        assert int(counted) == len(sets) * len(exercises())


def test_each_command_that_the_readme_names_exists() -> None:
    from typer.main import get_command

    from vitcourse.cli import app

    commands = get_command(app).commands
    named = re.findall(r"vitcourse ([a-z]+)\b(?! is| tells)", README.replace("import vitcourse", ""))
    assert {"train", "check", "hint", "status", "doctor"} <= set(named)
    assert set(named) <= set(commands), set(named) - set(commands)
    assert set(re.findall(r"vitcourse train ([a-z]+)", README)) <= set(PRESETS)
    known = {option(setting.name) for setting in settings()} | {"--help", "--output", "--resume", "--nproc-per-node"}
    for line in README.splitlines():
        if "vitcourse train" in line:
            assert set(re.findall(r"--[a-z-]+", line)) <= known, line
