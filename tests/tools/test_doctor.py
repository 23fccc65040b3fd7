"""`vitcourse.doctor`: each thing that can be wrong is found, said, and comes with what to type."""

import importlib.metadata
import io
import os
import shutil
import sys
from collections import namedtuple
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from vitcourse import doctor, places
from vitcourse.data import DOWNLOADS
from vitcourse.doctor import Finding, examine, has_problem, render


def find(text: str, findings: list[Finding] | None = None) -> Finding:
    """The one finding that says this."""
    found = [finding for finding in findings or examine() if text in finding.what]
    assert len(found) == 1, found
    return found[0]


def looked(look: doctor.Look) -> list[Finding]:
    return doctor._found("", look)


@pytest.fixture(autouse=True)
def _no_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the import of torchvision, which takes seconds, and can't be half done for a test that breaks torch."""
    monkeypatch.setattr(doctor, "_torchvision", lambda: iter(()))


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions that seem to be installed, in a world of three packages."""
    versions = {"einops": "0.8.2", "torch": "2.15.0", "torchvision": "0.29.2"}
    required = {
        "vitcourse": ["einops<0.9,>=0.8.1", "torch<2.16,>=2.11", "torchvision<0.31,>=0.26"],
    }

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", required.__getitem__)
    return versions


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of one chapter, in place of this one."""
    for name in ("chapters", "solutions", "tests", "vitcourse"):
        (tmp_path / name).mkdir()
    (tmp_path / "chapters" / "ch01_patches.py").write_text("x = 1\n")
    monkeypatch.setattr(places, "__file__", str(tmp_path / "vitcourse" / "places.py"))
    return tmp_path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the downloads."""
    monkeypatch.setenv("VITCOURSE_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def put(root: Path, files: tuple[str, ...]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def printed(findings: list[Finding], terminal: bool = False) -> str:
    file = io.StringIO()
    render(findings, Console(file=file, width=80, force_terminal=terminal))
    return file.getvalue()


# The whole


def test_this_environment_has_every_package_in_range() -> None:
    findings = examine()
    packages = {finding.what.split()[0]: finding for finding in findings if finding.area == "Packages"}
    assert {"torch", "torchvision", "einops", "rich", "scikit-learn"} <= set(packages)
    assert {finding.status for finding in packages.values()} == {"ok"}
    assert packages["torch"].what == f"torch {importlib.metadata.version('torch')}"
    assert find(sys.executable, findings).status == "ok"


def test_an_area_is_in_one_piece() -> None:
    areas = [finding.area for finding in examine()]
    changes = sum(before != after for before, after in pairwise(areas))
    assert changes + 1 == len(set(areas))


def test_only_a_problem_is_a_problem() -> None:
    harmless = [Finding("Data", "ok", ""), Finding("Data", "note", "")]
    assert not has_problem([])
    assert not has_problem(harmless)
    assert has_problem([*harmless, Finding("Data", "problem", "")])


# Python and packages


def test_a_python_out_of_range_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    Version = namedtuple("Version", "major minor micro releaselevel serial")
    for minor, status in ((10, "problem"), (11, "ok"), (14, "ok"), (15, "problem")):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "version_info", Version(3, minor, 0, "final", 0))
            (told,) = doctor._python()
        assert told[0] == status, minor
        assert (len(told) == 3) == (status == "problem")


@pytest.mark.parametrize("version", ["2.11", "2.11.0", "2.12.0+cpu", "2.13.0a0+git12ab", "2.15.3+cu130"])
def test_a_version_in_range_is_ok(packages: dict[str, str], version: str) -> None:
    packages["torch"] = version
    assert find(f"torch {version}", looked(doctor._packages)).status == "ok"


@pytest.mark.parametrize("version", ["0.9", "1.0.0", "2.10.9", "2.16", "2.16.0", "99.0"])
def test_a_version_out_of_range_is_a_problem(packages: dict[str, str], version: str) -> None:
    packages["torch"] = version
    finding = find(f"torch {version}", looked(doctor._packages))
    assert finding.status == "problem"
    assert "the course needs" in finding.what
    assert (finding.to_type or "").endswith('"torch<2.16,>=2.11"')


def test_a_missing_package_is_a_problem_with_what_to_type(packages: dict[str, str]) -> None:
    del packages["einops"]
    finding = find("einops", looked(doctor._packages))
    assert finding.what == "einops is missing"
    assert finding.status == "problem"
    assert finding.to_type is not None
    assert finding.to_type.endswith('pip install "einops<0.9,>=0.8.1"')


def test_what_needs_an_extra_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "einops>=0.8",
        'mkdocs>=1; extra == "docs"',
        'tomli; python_version < "3"',
        'rich; python_version > "3"',
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements)
    assert doctor._required() == {"einops": ">=0.8", "rich": ""}


@pytest.mark.parametrize(("pip", "installer"), [(object(), "python -m pip install"), (None, "uv pip install")])
def test_what_to_type_uses_the_installer_that_is_there(
    pip: object, installer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: pip)
    assert doctor._install("-e", "a b") == f'{installer} -e "a b"'


@pytest.mark.parametrize(
    ("module", "areas"),
    [("packaging", ["Python", "Packages"]), ("torch", ["Device"]), ("platformdirs", ["Data"]), (None, [])],
)
def test_what_cannot_be_looked_at_is_a_problem_and_the_rest_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str | None, areas: list[str]
) -> None:
    """A library that is missing, or the current folder."""

    def gone() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.delenv("VITCOURSE_DATA", raising=False)
    if module is None:
        monkeypatch.setattr(Path, "cwd", gone)
    for name in [name for name in sys.modules if module and name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    found = [finding for finding in examine() if "can't be looked at" in finding.what]
    assert [finding.area for finding in found] == areas
    assert {(finding.status, finding.to_type) for finding in found} <= {("problem", "uv sync --reinstall")}


# Devices


@pytest.mark.parametrize(
    ("driver", "mac", "said", "status"),
    [(False, False, "no GPU", "note"), (True, False, "made without CUDA", "note"), (False, True, "mps", "ok")],
)
def test_what_there_is_in_place_of_an_nvidia_gpu_is_said(
    driver: bool, mac: bool, said: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mac)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi" if driver else None)
    assert find(said, looked(doctor._device)).status == status


def test_each_gpu_is_named_and_has_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.ones

    def ones(n: int, device: str) -> torch.Tensor:
        if device == "cuda:1":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return real(n)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    properties = SimpleNamespace(name="Some GPU", total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch, "ones", ones)
    findings = looked(doctor._device)
    assert find("cuda:0", findings) == Finding("", "ok", "cuda:0, Some GPU, 8 GiB")
    broken = find("cuda:1", findings)
    assert broken.status == "problem"
    assert broken.what.endswith("can't compute: CUDA error: no kernel image is available")
    assert broken.to_type == "vitcourse train --device cpu"


# Data


def test_missing_downloads_are_notes_with_both_ways_to_get_them(root: Path) -> None:
    findings = looked(doctor._data)
    assert not has_problem(findings)
    for name, download in DOWNLOADS.items():
        finding = find(f"{name} is not there", findings)
        assert finding.status == "note"
        assert f"VITCOURSE_DATA to a folder that holds {download.wanted}" in finding.what
        assert finding.to_type == f"vitcourse train --data {name}"


@pytest.mark.parametrize("name", DOWNLOADS)
def test_downloads_that_are_there_are_ok(root: Path, name: str) -> None:
    put(root, DOWNLOADS[name].archives)
    assert find(f"{name} is there, to be unpacked", looked(doctor._data)).status == "ok"
    put(root, DOWNLOADS[name].files)
    assert Finding("", "ok", f"{name} is there") in looked(doctor._data)


def test_archives_that_cannot_be_unpacked_where_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, DOWNLOADS["mnist"].archives)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK)
    findings = looked(doctor._data)
    assert find("can't be written to", findings).status == "note"
    finding = find("mnist is there", findings)
    assert finding.status == "note"
    assert finding.to_type == DOWNLOADS["mnist"].to_copy(root)


def test_a_root_that_is_to_be_made_is_ok(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITCOURSE_DATA", str(root / "new" / "newer"))
    assert find("downloads go to", looked(doctor._data)) == Finding(
        "", "ok", f"downloads go to {root / 'new' / 'newer'} (set by VITCOURSE_DATA)"
    )


def test_a_root_that_is_a_file_is_said_to_be_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").touch(mode=0o755)
    monkeypatch.setenv("VITCOURSE_DATA", str(root / "file"))
    finding = find("downloads go to", looked(doctor._data))
    assert finding.status == "note"
    assert finding.what.endswith("file is no folder")


# The course


def test_a_whole_course_is_ok(course: Path) -> None:
    assert {finding.status for finding in looked(doctor._course)} == {"ok"}


def test_chapters_that_cannot_be_written_to_are_a_problem(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK)
    monkeypatch.chdir(course)
    (problem,) = (finding for finding in looked(doctor._course) if finding.status == "problem")
    assert f"your chapters are in {course / 'chapters'}" in problem.what
    assert "can't be written to" in problem.what
    assert problem.to_type == "vitcourse init ~/my-vit"


def test_a_course_without_its_own_files_is_a_problem(course: Path) -> None:
    shutil.rmtree(course / "solutions")
    (finding,) = looked(doctor._course)
    assert finding.status == "problem"
    assert "the course's own files are missing" in finding.what


# Printing


def test_the_status_is_a_word_and_the_command_has_its_line() -> None:
    findings = [
        Finding("Python", "ok", "Python 3"),
        Finding("Data", "note", "one"),
        Finding("Data", "problem", "two", "type this"),
    ]
    assert printed(findings).splitlines() == [
        "Python",
        "  ok       Python 3",
        "Data",
        "  note     one",
        "  problem  two",
        "           type: type this",
        "1 problem, 1 note.",
    ]


def test_without_a_problem_the_end_is_cheerful() -> None:
    assert printed([]).strip() == "0 problems, 0 notes: everything that the course needs is here."


def test_a_terminal_of_80_columns_wraps_at_words_and_never_in_a_path_or_a_command() -> None:
    path = "/home/somebody/a-long-name/" * 4
    findings = [Finding("Data", "note", "word " * 40 + path, "command " * 20 + "end")]
    lines = printed(findings, terminal=True).splitlines()
    words = [line for line in lines if "word" in line]
    assert len(words) == 3
    assert all(len(line) <= 80 for line in words[1:])
    assert all(line.startswith(" " * 11 + "word") for line in words[1:])
    assert any(path in line for line in lines)
    assert any("command " * 20 + "end" in line for line in lines)


def test_a_pipe_gets_whole_lines_without_colour_and_square_brackets_are_no_markup() -> None:
    what, command = "[bold]x[/bold] [1] " * 20, 'pip install "torch[all]"'
    text = printed([Finding("Data", "note", what, command)])
    assert what.strip() in text
    assert command in text
    assert "\x1b" not in text
