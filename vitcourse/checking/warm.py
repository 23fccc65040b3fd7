"""A warm start of the checks: this process loads torch, pytest and the checks once, and each check runs in its fork.

Here nothing is ever computed with tensors: threads of torch that had started before a fork would be missing in it.
"""

import contextlib
import gc
import importlib
import io
import os
import pkgutil
import signal
import sys
import traceback
import warnings
from pathlib import Path

from vitcourse import checking
from vitcourse.checking.grading import Child, Start, start_anew
from vitcourse.codesets import root
from vitcourse.course import chapters


def warm_start() -> tuple[Start, str]:
    """The quickest way that this system has to start a check, and a word to the user when it is not the quick one."""
    if not hasattr(os, "fork"):
        return start_anew, "this system can't fork a process: each check starts Python anew, some seconds slower"
    _load()
    return start_forked, ""


def start_forked(arguments: list[str], folder: Path, printed: Path) -> Child:
    """Fork this process for it. Nothing that the child does to its memory comes back."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python warns of threads. Those here (of the file watcher) hold nothing that the child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _be_child(arguments, folder, printed)
    with contextlib.suppress(OSError):  # the child does it too, whichever comes first
        os.setpgid(pid, pid)
    return _Forked(pid)


class _Forked:
    """A forked child, with the methods of subprocess.Popen that are needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ask(os.WNOHANG)

    def kill(self) -> None:
        """Kill the child, and with it what it may have started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        self._ask(0)
        assert self.returncode is not None
        return self.returncode

    def _ask(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _be_child(arguments: list[str], folder: Path, printed: Path) -> None:
    """What the child does, to its end: it never returns."""
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C is for the parent, which ends its child
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        with Path(os.devnull).open() as nothing, printed.open("w", encoding="utf-8") as file:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        import pytest

        code = int(pytest.main(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _load() -> None:
    """Import all that a check imports, but the learner's chapters."""
    import einops.layers.torch  # noqa: F401
    import pytest
    import torch  # noqa: F401

    with contextlib.suppress(ImportError):
        # What torch imports on the way to some messages, sympy among it, takes half a second.
        importlib.import_module("torch.fx.experimental.symbolic_shapes")
    for found in pkgutil.iter_modules(checking.__path__, f"{checking.__name__}."):
        importlib.import_module(found.name)
    tests = [str(root() / "tests" / f"test_{chapter.module}.py") for chapter in chapters()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main(
            [
                *("--collect-only", "--quiet", "-p", "no:cacheprovider", "--code", "solutions"),
                *("--rootdir", str(root()), "--config-file", str(root() / "pyproject.toml"), *tests),
            ]
        )
    gc.collect()
    gc.freeze()  # so that the children share this memory
