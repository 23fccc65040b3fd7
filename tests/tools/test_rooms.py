"""The plan on the wall: CONTRIBUTING's table of rooms, and the contracts on imports, agree with the tree."""

import ast
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


def defined(file: Path) -> set[str]:
    """What a file defines at its top, and the methods of its classes."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return set(re.findall(r"\bfunction (\w+)", text))
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    methods = {
        f"{node.name}.{part.name}"
        for node in nodes
        for part in getattr(node, "body", ())
        if isinstance(node, ast.ClassDef) and isinstance(part, ast.FunctionDef)
    }
    return {node.name for node in nodes} | methods


def test_each_file_of_the_walks_is_there_and_defines_what_is_named_behind_it() -> None:
    file, walked = None, 0
    for word in re.findall(r"`([^`\n]+)`", (root() / "book" / "walks.md").read_text(encoding="utf-8")):
        if re.fullmatch(r"[\w/]+\.(py|js|md|yml)", word):
            file, walked = root() / word, walked + 1
            assert file.is_file(), word
        elif re.fullmatch(r"[A-Za-z_]\w*(\.\w+)?", word):
            assert file is not None, word
            assert word in defined(file), (file.name, word)
    assert walked > 30
