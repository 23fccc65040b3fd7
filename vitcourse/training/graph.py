"""A whole training step as one CUDA graph: the batch, both passes, clipping and update are recorded once and then
started as one, without Python in between.

What is recorded works on the same memory each time. So the batch is told by its images' numbers, which are copied to
where the recording reads them; learning rates are tensors; and nothing in the step may wait for the GPU.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]

# Before it is recorded, a step runs as it is so often: it compiles, makes its state, chooses its kernels.
WARM_UP = 3


class RecordedStep:
    """A step, told by the numbers of the batch's images, that records itself; the loss lies at one place for all."""

    def __init__(self, step: Step, example: Tensor, generators: list[torch.Generator]) -> None:
        self.step, self.generators = step, generators
        self.index = torch.empty_like(example)
        self.calls = 0
        self.replay: Callable[[], None] | None = None
        self.loss = torch.zeros(())

    def __call__(self, index: Tensor) -> Tensor:
        """Take the step. Raises RuntimeError at the last step before the recording when something in it waits."""
        self.index.copy_(index)
        self.calls += 1
        if self.calls <= WARM_UP:
            with beside(self.index.device), nothing_waits(wanted=self.calls == WARM_UP):
                return self.step(self.index)
        if self.replay is None:
            self.replay, self.loss = record(self.step, self.index, self.generators)
        self.replay()
        return self.loss


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """On the stream on which is recorded later, in order with what is done before and after."""
    stream, usual = _stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        yield
    usual.wait_stream(stream)


@contextmanager
def nothing_waits(*, wanted: bool = True) -> Iterator[None]:
    """Make whatever waits for the GPU an error."""
    if not wanted:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # that it is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def record(step: Step, index: Tensor, generators: list[torch.Generator]) -> tuple[Callable[[], None], Tensor]:
    """The step as a graph: what starts it, and where its loss will be. Nothing is computed yet."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=_stream(index.device)):
        loss = step(index)
    return graph.replay, loss


_streams: dict[torch.device, torch.cuda.Stream] = {}


def _stream(device: torch.device) -> torch.cuda.Stream:
    """The current one, so that several runs side by side share no memory to work in; the usual one can't record."""
    current = torch.cuda.current_stream(device)
    if current != torch.cuda.default_stream(device):
        return current
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _streams[device]
