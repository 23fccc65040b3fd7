"""Started by the judge as a process of its own: python -I -S __main__.py PATHS SPACE [PORT].

PATHS are Python's, as JSON; SPACE names the judge's process namespace.

Standard input is a socket. Over it the judge asks, line by line:

    start              with two files (a socket, prints): a fork serves there; its number is answered
    end NUMBER GRACE   end that process and all that it started; how it ended is answered. It has so many seconds to
                       end by itself: its socket is closed a moment before it has ended
    optimizer          load what the first optimizer of torch would load

This process never computes with tensors: torch's threads, had they started, would be missing in a fork. Where a system
can't fork, the judge listens on PORT, and the process itself serves, once; it prints where its errors go.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any


def load() -> Any:
    """Load torch and what a worker needs of it, once for all forks; what serves in them."""
    sys.path[:] = [*(path for path in sys.path if path), *json.loads(sys.argv[1])]
    package = ModuleType("worker", "The files of this folder, and nothing else of the course.")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["worker"] = package
    warnings.simplefilter("ignore")
    with importlib.import_module("worker.loading").loading():
        import torch

        for name in ("einops.layers.torch", "jaxtyping", "safetensors.torch", "worker.serving", "torch.overrides"):
            importlib.import_module(name)
    torch.set_num_threads(1)
    return sys.modules["worker.serving"]


def main() -> None:
    """Load torch, then do what the judge asks until it hangs up."""
    serving = load()
    import torch

    spawned = sys.argv[3:]
    if spawned:
        word = sys.stdin.readline().strip()
        control = socket.create_connection(("127.0.0.1", int(spawned[0])))
        control.sendall(f"ready {word}\n".encode())
    else:
        control = socket.socket(fileno=os.dup(0))
        control.sendall(b"ready\n")
    living: set[int] = set()
    while True:
        words, files, _, _ = (control.recv(4096), [], 0, 0) if spawned else socket.recv_fds(control, 4096, 2)
        if not words:
            for child in living:  # the judge was ended: nothing stays
                end(child)
            os._exit(0)
        command, _, rest = words.decode().strip().partition(" ")
        if command == "optimizer":
            torch.optim.SGD([torch.nn.Parameter(torch.empty(1))])
            answer = "loaded"
        elif command == "end":
            number, grace = rest.split()
            living.discard(int(number))
            answer = end(int(number), float(grace))
        elif spawned:
            control.sendall(b"here\n")
            serving.be_worker(control, 2)
        elif (child := os.fork()) == 0:
            control.close()
            serving.be_worker(socket.socket(fileno=files[0]), files[1])
        else:
            living.add(child)
            answer = str(child)
        for file in files:
            os.close(file)
        control.sendall(f"{answer}\n".encode())


def end(child: int, grace: float = 0.0) -> str:
    """Kill the process and all that it started; how it ended, in words: as it was killed, if it still ran."""
    until = time.monotonic() + grace
    pid, status = os.waitpid(child, os.WNOHANG)
    while not pid and time.monotonic() < until:
        time.sleep(0.005)
        pid, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if process_space() not in ("", sys.argv[2]):  # in a box there is nothing else, but what left the group
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    if not pid:
        os.waitpid(child, 0)
        return "killed"
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def process_space() -> str:
    """The name of this process's namespace of processes, where the system has such."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


if __name__ == "__main__":
    main()
