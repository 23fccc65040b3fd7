"""Kernels as forks of one process that has torch, Jupyter and what draws: to load these takes each alone some seconds.

On other systems than Linux, and where that process ends, they start as ever.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Lock
from typing import Any

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

LOADED = ("torch._dynamo", "einops.layers.torch", "jaxtyping", "matplotlib.pyplot", "matplotlib_inline.backend_inline")
_MAIN = "import sys; sys.path.remove(''); from vitcourse.book.kernels import main; main()"


@contextmanager
def forked() -> Iterator[None]:
    """Whatever runs notebooks here meanwhile gets such kernels."""
    if sys.platform != "linux":
        yield
        return
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:Forked", factory.GROUP_NAME)
    with subprocess.Popen([sys.executable, "-c", _MAIN], stdin=-1, stdout=-1, text=True) as Forked.source:
        factory.default_provisioner_name = "forked"
        try:
            yield
        finally:
            factory.default_provisioner_name = "local-provisioner"


class Forked(LocalProvisioner):
    """Has a kernel forked, and finds its process as it would a Popen."""

    source: Any
    lock = Lock()
    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """What jupyter_client asks for."""
        with self.lock, suppress(BrokenPipeError, ValueError):  # that process has ended; it is another kernel
            words = cmd[cmd.index("ipykernel_launcher") :]
            told = {"words": words, "folder": str(kwargs.get("cwd") or Path.cwd()), "environment": kwargs["env"]}
            os.write(self.source.stdin.fileno(), f"{json.dumps(told)}\n".encode())
            if said := self.source.stdout.readline():
                self.process = _Process(int(said))
                self.pid = self.pgid = self.process.pid
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)


class _Process:
    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None as long as it runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    wait = poll

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def main() -> None:
    """Load what kernels load; then fork one for each line that is read, and write its number."""
    # ipykernel and matplotlib look for these when they are imported.
    os.environ |= {"JPY_PARENT_PID": str(os.getpid()), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    for name in LOADED:
        importlib.import_module(name)
    from ipykernel import kernelapp

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            if pid := os.fork():
                print(pid, file=answers, flush=True)
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            told = json.loads(line)
            os.chdir(told["folder"])
            os.environ |= told["environment"]
            sys.argv = told["words"]
            kernelapp.launch_new_instance()
            return
