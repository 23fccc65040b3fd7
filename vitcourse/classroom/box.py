"""A box for the process that runs a submission: bubblewrap, and a watch on what no limit of the system's counts.

In it are Python, torch and the worker, to be read; a small /tmp; nothing else of the disk, no network, no environment,
no other process. All that is in it ends with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitcourse import worker
from vitcourse.checking.workers import Workers, fenced, paths
from vitcourse.errors import RequestError
from vitcourse.worker import limits

WRITTEN = 128 * 2**20  # bytes in /tmp
MEMORY = limits.MEMORY  # bytes of all processes of a box
_LOOK = 0.1  # seconds between two looks into a box
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin", "/nix", "/etc/ld.so.cache", "/etc/alternatives")


def box(kind: str) -> tuple[str, ...]:
    """The command that starts a process in a box: of kind "auto" one is wanted, of kind "none" none.

    Raises RequestError where there is none to be had, and says why.
    """
    if kind == "none":
        return ()
    program = shutil.which("bwrap")
    if program is None:
        why = "there is no bubblewrap here (Debian: apt install bubblewrap)"
        raise RequestError(f"{why}; to run what was handed in without a box, type: --box none")
    command = (program, *_arguments())
    tried = subprocess.run([*command, os.path.realpath(sys.executable), "-I", "-S", "-c", ""], capture_output=True)
    if tried.returncode:
        why = " ".join(tried.stderr.decode(errors="replace").split())[:200]
        raise RequestError(f"no box can be made here ({why}); to run what was handed in without one, type: --box none")
    return command


def _arguments() -> list[str]:
    words = ["--unshare-all", "--die-with-parent", "--clearenv", "--hostname", "box", "--chdir", "/"]
    for name in ("PATH=/usr/bin", "HOME=/tmp", "LANG=C.UTF-8", "OMP_NUM_THREADS=1"):
        words += ["--setenv", *name.split("=")]
    words += ["--size", str(WRITTEN), "--tmpfs", "/tmp"]  # before what is bound: a Python may be in there
    seen: list[Path] = []
    for name in (*_SYSTEM, sys.base_prefix, str(Path(os.path.realpath(sys.executable)).parent.parent), *paths()):
        place = Path(name)
        if place.is_symlink() and name in _SYSTEM:
            words += ["--symlink", str(place.readlink()), name]
        elif place.exists() and not any(place.is_relative_to(other) for other in seen):
            words += ["--ro-bind", name, name]
            seen.append(place)
    for folder in fenced():
        if any(Path(folder).is_relative_to(other) for other in seen):
            words += ["--tmpfs", folder]
    words += ["--ro-bind", *[str(Path(worker.__file__).parent)] * 2]
    words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--size", str(2**20), "--tmpfs", "/dev/shm"]
    return [*words, "--remount-ro", "/"]


@contextmanager
def boxed(command: tuple[str, ...]) -> Iterator[Workers]:
    """Workers in a box, which is watched; in none where the command is empty."""
    with Workers(wrapped=command) as workers:
        if not command:
            yield workers
            return
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(workers, over), daemon=True)
        watch.start()
        try:
            yield workers
        finally:
            over.set()
            watch.join()


def _watch(workers: Workers, over: threading.Event) -> None:
    """End the box when all of its processes together are too many, or hold too much memory."""
    while not over.wait(_LOOK):
        number = workers.pid
        inside = _below(number) if number is not None else []
        if number is not None and (len(inside) > limits.PROCESSES or sum(map(_own_memory, inside)) > MEMORY):
            for process in (*inside[:1], number):  # the first is the box's init: all end with it
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)


def _below(number: int) -> list[int]:
    """The processes that a process started, and those that they started: parents first."""
    found = [number]
    for process in found:
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found[1:]


def _own_memory(process: int) -> int:
    """The bytes that a process holds alone, as nearly as is quickly known."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
