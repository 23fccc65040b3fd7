"""What `vitcourse doctor` finds: Python, packages, device, data, and what to type where something is missing.

A finding is data; `examine` collects them and `render` prints them. Nothing here needs an installation that works: what
can't be looked at is a finding.
"""

import importlib.util
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

import vitcourse
from vitcourse import places
from vitcourse.data import DOWNLOADS, data_root
from vitcourse.errors import RequestError, first_line
from vitcourse.files import unwritable
from vitcourse.worker import limits

Status = Literal["ok", "note", "problem"]

Told = tuple[Status, str] | tuple[Status, str, str]  # of a finding: all but its area
Look = Callable[[], Iterable[Told]]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ok, a note (the course works without it), or a problem (something will fail)."""

    area: str
    status: Status
    what: str
    to_type: str | None = None


def examine() -> list[Finding]:
    """Look at everything; the findings of an area follow one another."""
    return [finding for area, look in _looks() for finding in _found(area, look)]


def _found(area: str, look: Look) -> list[Finding]:
    try:
        return [Finding(area, *told) for told in look()]
    except Exception as error:  # a library that is missing or of another version makes almost anything happen
        return [Finding(area, "problem", f"can't be looked at: {first_line(error)}", _repair())]


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether any finding is a problem; notes are none."""
    return any(finding.status == "problem" for finding in findings)


def render(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings by area: the status as a word, what was found, and on a line of its own what to type."""
    # A terminal gets lines of its width, a pipe whole lines. A command is one line everywhere, to be copied as one.
    width = max(20, console.width - len(_INDENT)) if console.is_terminal else sys.maxsize

    def show(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True)

    for area, group in groupby(findings, key=lambda finding: finding.area):
        show(area)
        for finding in group:
            lines = textwrap.wrap(finding.what, width, break_long_words=False, break_on_hyphens=False)
            show("  ", (f"{finding.status:<7}", _COLOURS[finding.status]), "  ", f"\n{_INDENT}".join(lines))
            if finding.to_type:
                show(_INDENT, "type: ", finding.to_type)
    show(_summary(findings))


_COLOURS: dict[Status, str] = {"ok": "green", "note": "yellow", "problem": "red"}
_INDENT = " " * len("  problem  ")


def _summary(findings: Sequence[Finding]) -> str:
    problems, notes = (sum(finding.status == status for finding in findings) for status in ("problem", "note"))
    counts = f"{problems} problem{'' if problems == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}"
    return f"{counts}." if problems else f"{counts}: everything that the course needs is here."


def _looks() -> list[tuple[str, Look]]:
    return [
        ("Python", _python), ("Packages", _packages), ("Packages", _torchvision), ("Device", _device),
        ("Data", _data), ("Course", _course), ("Course", _limits),
    ]  # fmt: skip


# Python and packages


def _python() -> Iterator[Told]:
    version, needed = ".".join(map(str, sys.version_info[:3])), metadata.metadata("vitcourse")["Requires-Python"]
    where = f"Python {version}, {sys.executable}"
    if _fits(version, needed):
        yield "ok", where
    else:
        yield "problem", f"{where}; the course needs {needed}", "uv venv --python 3.13"


def _packages() -> Iterator[Told]:
    for name, needed in _required().items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield "problem", f"{name} is missing", _install(f"{name}{needed}")
            continue
        if _fits(version, needed):
            yield "ok", f"{name} {version}"
        else:
            yield "problem", f"{name} {version} is installed; the course needs {needed}", _install(f"{name}{needed}")


def _torchvision() -> Iterator[Told]:
    """Nothing, or the error of torch and torchvision that were made for one another in name only."""
    import torchvision  # noqa: F401

    yield from ()


def _required(extra: str = "") -> dict[str, str]:
    """The packages that the course needs here, and their versions: {"torch": "<2.16,>=2.11"}.

    With an extra, those that it adds. Raises PackageNotFoundError if the course is not installed.
    """
    from packaging.requirements import Requirement

    requirements = map(Requirement, metadata.requires("vitcourse") or [])
    # A marker asks about this machine, or for an extra that nobody asked for here.
    return {
        one.name: str(one.specifier)
        for one in requirements
        if (not extra if one.marker is None else one.marker.evaluate({"extra": extra}))
    }


def _fits(version: str, needed: str) -> bool:
    """Whether a version is in a range such as "<2.16,>=2.11"."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(needed).contains(version, prereleases=True)


def _install(*what: str) -> str:
    installer = "python -m pip install" if importlib.util.find_spec("pip") else "uv pip install"
    # Double quotes do in every shell; a shell reads "<" and ">" outside of them as a redirection.
    return " ".join([installer, *(one if one.startswith("-") else f'"{one}"' for one in what)])


def to_install(extra: str) -> str:
    """What to type for the packages of one of the course's extras."""
    if not places.is_installed():
        return "uv sync"
    return _install(*(f"{name}{needed}" for name, needed in _required(extra).items()))


def _repair() -> str:
    """What to type where the installation is broken: everything again."""
    return _install("--force-reinstall", "vitcourse") if places.is_installed() else "uv sync --reinstall"


# Devices


def _device() -> Iterator[Told]:
    import torch

    with warnings.catch_warnings(action="ignore"):  # about drivers; the findings say it
        if torch.cuda.is_available():
            yield from (_cuda(index) for index in range(torch.cuda.device_count()))
        elif torch.backends.mps.is_available():
            yield "ok", "mps: the GPU of this Mac"
        elif shutil.which("nvidia-smi"):
            build = f"made for CUDA {torch.version.cuda}" if torch.version.cuda else "made without CUDA"
            what = f"there is an NVIDIA driver, but torch {torch.__version__}, {build}, sees no GPU: it uses the CPU"
            yield "note", what, "nvidia-smi"
        else:
            yield "note", "no GPU: the CPU will be used, which is enough for digits"


def _cuda(index: int) -> Told:
    import torch

    properties = torch.cuda.get_device_properties(index)
    gpu = f"cuda:{index}, {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    try:
        torch.ones(1, device=f"cuda:{index}").add(1).item()
    except Exception as error:  # a GPU that is too old for this torch is seen, and fails when it has to compute
        return "problem", f"{gpu}, can't compute: {first_line(error)}", "vitcourse train --device cpu"
    return "ok", gpu


# Data


def _data() -> Iterator[Told]:
    root = data_root()
    chosen = "set by VITCOURSE_DATA" if os.environ.get("VITCOURSE_DATA") else "VITCOURSE_DATA would change it"
    where = f"downloads go to {root} ({chosen})"
    if not (fault := unwritable(root)):
        yield "ok", where
    else:
        set_it = '$env:VITCOURSE_DATA = "{}"' if os.name == "nt" else "export VITCOURSE_DATA={}"
        yield "note", f"{where}, but {fault}", set_it.format("~/vitcourse-data")
    yield from (_download(name, root, not fault) for name in DOWNLOADS)


def _download(name: str, root: Path, writable: bool) -> Told:
    download = DOWNLOADS[name]
    state = download.state(root)
    if state == "unpacked":
        return "ok", f"{name} is there"
    if state == "packed" and writable:
        return "ok", f"{name} is there, to be unpacked at its first use"
    if state == "packed":
        return "note", f"{name} is there, but has to be unpacked where you can write", download.to_copy(root)
    what = (
        f"{name} is not there: its first use downloads {download.megabytes} MB; without a network, set VITCOURSE_DATA "
        f"to a folder that holds {download.wanted}"
    )
    return "note", what, f"vitcourse train --data {name}"


# The course's own files


def _course() -> Iterator[Told]:
    """Where the course's own files and the learner's are; what is wrong in a chapter is for the checks to say."""
    try:
        yield "ok", f"vitcourse {vitcourse.__version__}, its files in {places.root()}"
        chapters = places.workplace() / places.CHAPTERS
    except RequestError as error:
        yield "problem" if not places.is_installed() else "note", str(error)
        return
    if fault := unwritable(chapters) or unwritable(chapters.parent):
        what = f"your chapters are in {chapters}, but {fault}: no check is remembered, no answer kept"
        yield "problem", what, "vitcourse init ~/my-vit"
    else:
        yield "ok", f"your chapters are in {chapters}"


def _limits() -> Iterator[Told]:
    if lacking := limits.missing():
        yield "note", f"this system can't limit the {' and '.join(lacking)} of a check; its time it can"
    if not hasattr(os, "fork"):
        yield "note", "this system can't fork a process: each check is some seconds slower"
