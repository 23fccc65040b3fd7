"""Started by the judge as a process of its own: python -I -S __main__.py PATHS, where PATHS are Python's, as JSON.

Standard input is a socket. Over it the judge asks, line by line:

    start              with three files (requests, answers, prints): a fork serves there; its number is answered
    end NUMBER         end that process and all that it started; how it ended is answered
    optimizer          load what the first optimizer of torch would load

This process never computes with tensors: torch's threads, had they started, would be missing in a fork. Where a system
can't fork, the process itself serves, once.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    """Load torch, then do what the judge asks until it hangs up."""
    sys.path[:] = [*(path for path in sys.path if path), *json.loads(sys.argv[1])]
    package = ModuleType("worker", "The files of this folder, and nothing else of the course.")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["worker"] = package
    warnings.simplefilter("ignore")
    import torch

    for name in ("einops.layers.torch", "jaxtyping", "safetensors.torch", "worker.serving", "torch.overrides"):
        importlib.import_module(name)
    torch.set_num_threads(1)
    serving: Any = sys.modules["worker.serving"]
    gc.collect()
    gc.freeze()  # so that the forks share this memory
    control = socket.socket(fileno=os.dup(0))
    control.sendall(b"ready\n")
    while True:
        words, files, _, _ = socket.recv_fds(control, 4096, 3)
        if not words:
            return
        command, _, rest = words.decode().strip().partition(" ")
        if command == "optimizer":
            torch.optim.SGD([torch.nn.Parameter(torch.empty(1))])
            answer = "loaded"
        elif command == "end":
            answer = end(int(rest))
        elif (child := os.fork() if hasattr(os, "fork") else 0) == 0:
            control.close()
            serving.be_worker(*files)
        else:
            answer = str(child)
        for file in files:
            os.close(file)
        control.sendall(f"{answer}\n".encode())


def end(child: int) -> str:
    """Kill the process and its group; how it ended, in words: as it was killed, if it still ran."""
    pid, status = os.waitpid(child, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    if not pid:
        os.waitpid(child, 0)
        return "killed"
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    main()
