"""The plan on the wall: CONTRIBUTING's table of rooms, and the contracts on imports, agree with the tree."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from vitcourse.places import root

PLAN = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The rooms")[2].partition("\n## ")[0]
FILES = subprocess.run(["git", "ls-files"], cwd=root(), capture_output=True, text=True, check=True).stdout.split()


def test_every_folder_is_a_room_of_the_table_and_every_room_a_folder() -> None:
    told = re.findall(r"^\| `([^`]+)/` \|", PLAN, re.MULTILINE)
    folders = {Path(file).parts[0] for file in FILES if "/" in file and not file.startswith(".")}
    assert {room for room in told if "/" not in room} == folders
    assert all((root() / room).is_dir() for room in told)


def test_every_folder_of_the_package_is_told_with_its_idea() -> None:
    inside = {Path(file).parts[1] for file in FILES if file.startswith("vitcourse/") and file.endswith("/__init__.py")}
    told = set(re.findall(r"`(\w+)/`\s\(", PLAN))
    assert told == inside - {"__init__.py"}


def test_every_contract_on_imports_is_kept() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=root(), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:]


def test_the_worker_the_door_and_the_chapters_have_contracts_of_their_own() -> None:
    settings = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    forbidden = {
        (source, other)
        for contract in settings["contracts"]
        if contract["type"] == "forbidden"
        for source in contract["source_modules"]
        for other in contract["forbidden_modules"]
    }
    assert {("vitcourse.worker", other) for other in ("solutions", "chapters", "tests")} <= forbidden
    assert {("vitcourse", other) for other in ("solutions", "chapters", "tests")} <= forbidden
