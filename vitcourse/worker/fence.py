"""What a worker's process may not touch: the course's own files, other processes, new ones.

An audit hook, once set, can't be taken away by Python code. It is a fence for one's own machine and no prison: whoever
checks unknown code needs a box around the process.
"""

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

_PROGRAMS = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "pty.spawn"),
    *("os.fork", "os.forkpty"),  # what leaves the worker's session would go on after the check
)
_READS = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.link",
    "os.symlink",
    "os.rename",
    "os.remove",
    "os.chmod",
    "os.truncate",
)
_PROCESS = re.compile(r"/proc/(\d+)(/|$)")


def fence(folders: Sequence[str]) -> None:
    """From here on, nothing in these folders can be opened or listed, and no program be started, in this process."""
    realpath, fsdecode, getpid, normcase, sep = os.path.realpath, os.fsdecode, os.getpid, os.path.normcase, os.sep
    closed = tuple(normcase(realpath(folder)) + sep for folder in folders)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _READS and args and isinstance(args[0], str | bytes):
            path = realpath(fsdecode(args[0]))
            process = _PROCESS.match(path)
            if (normcase(path) + sep).startswith(closed) or (process and int(process[1]) != getpid()):
                raise PermissionError(f"an answer can't read {path}")
        elif event in _PROGRAMS:
            raise PermissionError("an answer can't start processes")
        elif event in ("os.kill", "os.killpg") and args[0] != getpid():
            raise PermissionError("an answer can't end other processes")

    sys.addaudithook(hook)
