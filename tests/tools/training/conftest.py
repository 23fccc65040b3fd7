"""What the tests of training share: the command line in an empty folder, and data so small that a run takes no time.

The images are coloured and not square, and the class is the row that is bright.
"""

import shutil
from collections.abc import Iterator
from functools import wraps
from pathlib import Path

import pytest
import torch
from commands import Command
from small_runs import striped

from vitcourse.data import Dataset
from vitcourse.places import root
from vitcourse.training import preparation, train


@pytest.fixture(autouse=True)
def no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device auto` is the CPU in these tests, and in the processes that they start; those marked gpu want a GPU."""
    if request.node.get_closest_marker("gpu") is None:
        for device in (torch.cuda, torch.backends.mps):
            monkeypatch.setattr(device, "is_available", wraps(device.is_available)(lambda: False))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """What `--data digits` gives in these tests."""
    dataset = Dataset("stripes", *striped(90, seed=0), *striped(50, seed=1), ("top", "middle", "bottom"), ("x.png: ?",))
    monkeypatch.setattr(preparation, "load_dataset", lambda name, image_size: dataset)
    return dataset


@pytest.fixture
def learner(tmp_path: Path) -> Path:
    """A learner's folder in which everything is done."""
    return Path(shutil.copytree(root() / "solutions", tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures without their content: drawing takes longer than these small runs."""
    monkeypatch.setattr(train, "draw_curves", lambda *_: None)
    monkeypatch.setattr(train, "draw_predictions", lambda *_: None)
    monkeypatch.setattr(train, "png", lambda _: b"")


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilation takes a minute; here it is the model itself."""
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(torch, "compile", broken)


@pytest.fixture
def same_threads() -> Iterator[None]:
    """--threads holds for the whole process; here it ends with the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def vitcourse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_in: Command, same_threads: None) -> Command:
    """The command line, called in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return type_in
