"""The processes that train together: who one is among them, and what they tell each other.

torchrun starts them and tells each its place in environment variables. Alone, a process is the first of one, and
nothing here touches torch's distributed engine.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vitcourse.errors import RunError

# How long the others wait for one that says nothing before they take it for dead.
PATIENCE = timedelta(minutes=10)
_ANOTHERS_END = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "timed out waiting")


@dataclass(frozen=True)
class Processes:
    """One process's place: its number among all, how many there are, and its number on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> "Processes":
        """The place that torchrun gave this process; the only one, if it was started without torchrun."""
        alone = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
        return cls(*(int(os.environ.get(name, number)) for name, number in alone.items()))

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes files and speaks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """The part of n things in a row that is this process's; parts differ by one at most."""
        return slice(n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size)

    @contextmanager
    def joined(self, device: Any) -> Iterator[None]:
        """Within this context the processes can talk: over NCCL between GPUs, over Gloo between CPUs.

        Raises RunError when another one of them has ended.
        """
        if self.world_size == 1:
            yield
            return
        import torch.distributed as dist

        # What is said on the CPU stays on the CPU: there a word costs no wait for the GPU.
        on_gpus = device.type == "cuda"
        backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        # Told its GPU, NCCL connects at once, and no process reserves memory on another's.
        dist.init_process_group(backend, timeout=PATIENCE, device_id=device if on_gpus else None)
        try:
            yield
        except RuntimeError as error:
            # However torch puts it: what fails in the exchange is another one's end.
            if any(words in str(error).lower() for words in _ANOTHERS_END):
                raise RunError(
                    "another process of this run has ended; to go on from its checkpoint, type the same and --resume"
                ) from error
            raise
        finally:
            # When one process has failed, the others must not wait for it here.
            dist.destroy_process_group()

    def sum(self, tensor: Any) -> Any:
        """The sum of all processes' tensors, in place."""
        if self.world_size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def any_of(self, *hold: bool) -> tuple[bool, ...]:
        """Of each of these things, whether it holds in any of the processes."""
        if self.world_size == 1:
            return hold
        import torch

        return tuple(bool(count) for count in self.sum(torch.tensor(hold, dtype=torch.int64)).tolist())

    def gathered(self, value: Any) -> list[Any]:
        """Every process's value, in the order of their numbers."""
        if self.world_size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values


ALONE = Processes()
