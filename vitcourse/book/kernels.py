"""Kernels as forks of one process that has torch, Jupyter and what draws: to load these takes each alone some seconds.

The process is Python's own fork server. This is for Linux alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from multiprocessing import forkserver, parent_process, set_forkserver_preload
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

DRAWS = "matplotlib_inline.backend_inline"
LOADED = [
    *("__main__", "torch._dynamo", "einops.layers.torch", "jaxtyping", "matplotlib.pyplot", DRAWS),
    "ipykernel.kernelapp",
]


@contextmanager
def forked() -> Iterator[None]:
    """Whatever runs notebooks here meanwhile gets such kernels."""
    set_forkserver_preload(LOADED)
    with patch.dict(os.environ, MPLBACKEND=f"module://{DRAWS}"):  # for which matplotlib looks when it is imported
        forkserver.ensure_running()
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:Forked", factory.GROUP_NAME)
    factory.default_provisioner_name = "forked"
    try:
        yield
    finally:
        factory.default_provisioner_name = "local-provisioner"


class Forked(LocalProvisioner):
    """Has a kernel forked, and handles its process as it would a Popen."""

    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """What jupyter_client asks for."""
        if "ipykernel_launcher" not in cmd:  # it is another kernel
            return await super().launch_kernel(cmd, **kwargs)
        words = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.process = _Process(target=_launch, args=(words, kwargs.get("cwd") or Path.cwd(), kwargs["env"]))
        self.process.start()
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class _Process(ForkServerProcess):
    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        """None as long as it runs."""
        return self.exitcode

    wait = poll

    def send_signal(self, number: int) -> None:
        """To the process alone, where it has no group of its own yet."""
        assert self.pid is not None
        os.kill(self.pid, number)


def _launch(words: list[str], folder: str | Path, environment: dict[str, str]) -> None:
    """Be a kernel, in a process that was forked."""
    from ipykernel.kernelapp import IPKernelApp

    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
    os.setsid()
    os.chdir(folder)
    os.environ |= environment
    IPKernelApp.launch_instance(words, parent_handle=os.getppid())


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
