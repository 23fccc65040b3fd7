"""The whole step as one CUDA graph, tried on a CPU: operations are recorded as a GPU would record them.

The stand-in for a graph keeps the list of operations that a step called, with the very tensors that they were called
with. Starting it calls them again and puts the results where they were. As in a CUDA graph, numbers of Python's are
what they were at the recording, and Python itself isn't asked again.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from commands import Command
from small_runs import SMALL, same
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from solutions.ch05_vit import warmup_cosine
from vitcourse.training import graph, optim, preparation
from vitcourse.training.configuration import make_config
from vitcourse.training.graph import WARM_UP
from vitcourse.training.loop import Run
from vitcourse.training.processes import Processes
from vitcourse.training.rehearsal import rehearse
from vitcourse.training.steps import wrapped

TINY = {"patch_size": 2, "d_model": 12, "n_layers": 2, "n_heads": 2, "batch_size": 16, "epochs": 3, "device": "cpu"}
# What a GPU's queue would be waited for, or a number of Python's copied to it.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "is_nonzero", "unique")


class Watch(TorchDispatchMode):
    """Refuse every operation that would wait for a GPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in function.__name__ for word in WAITS):
            raise RuntimeError(f"called a synchronizing operation: {function.__name__}")
        return function(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Call and note every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        # What lies within an argument, as a view does, is there already when the operation is called again.
        fresh = [t if t.untyped_storage().data_ptr() not in given else None for t in made]
        self.calls.append((function, args, kwargs, fresh))
        return out

    def start(self) -> None:
        """All of it again, into the same memory."""
        with torch.no_grad():
            for function, args, kwargs, made in self.calls:
                again = [t for t in tree_leaves(function(*args, **kwargs)) if isinstance(t, Tensor)]
                for place, result in zip(made, again, strict=True):
                    if place is not None:
                        place.copy_(result)


def record(step: Callable[[Tensor], Tensor], index: Tensor, _: object) -> tuple[Callable[[], None], Tensor]:
    """Where a CUDA graph computes nothing while it is recorded, this does: so its first start is done already."""
    recorder = Recorder()
    with recorder:
        loss = step(index)
    started: list[None] = []

    def start() -> None:
        if started:
            recorder.start()
        started.append(None)

    return start, loss


@contextmanager
def nothing_waits(*, wanted: bool = True) -> Iterator[None]:
    with Watch() if wanted else nullcontext():
        yield


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU as if it were a GPU that records."""
    monkeypatch.setattr(graph, "record", record)
    monkeypatch.setattr(graph, "beside", lambda _: nullcontext())
    monkeypatch.setattr(graph, "nothing_waits", nothing_waits)
    monkeypatch.setattr(optim, "_on_gpu", lambda _: True)
    monkeypatch.setattr(preparation.Setup, "records", property(lambda setup: setup.config.graph))


def trained(**changes: Any) -> Run:
    run = Run.start(preparation.prepare(make_config(**{**TINY, **changes})))
    for _ in range(run.setup.config.epochs):
        run.loss_sum.zero_()
        for loss in run.losses():
            run.loss_sum.add_(loss, alpha=run.batches.n_local)
    return run


RECIPES: dict[str, dict[str, Any]] = {
    "AdamW, a cosine": {"schedule": "cosine", "warmup": 0.2, "dropout": 0.2, "shift": 1},
    "Muon, a trapezoid, all of mnist-gpu": {"preset": "mnist-gpu", "data": "digits", "crop": 4, "positions": "learned"},
    "clipped, averaged, mirrored": {"clip": 0.5, "ema": 0.9, "flip": True, "optimizer": "adam"},
    "bf16": {"amp": "bf16", "kernels": "fused"},
}


@pytest.mark.usefixtures("stripes", "recording")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recorded_run_is_the_run(recipe: str) -> None:
    """Rates, batches and chance are new at each start. Of 90 images the last batch has ten, and isn't recorded."""
    settings = {"compile": "off", **RECIPES[recipe]}
    plain, recorded = trained(**settings, graph=False), trained(**settings, graph=True)
    assert plain.recorded is None
    assert recorded.recorded is not None
    assert recorded.recorded.calls == 3 * 5
    assert recorded.steps_done == plain.steps_done == 3 * 6
    assert same(plain.kept.state_dict(), recorded.kept.state_dict())
    assert torch.equal(plain.loss_sum, recorded.loss_sum)


@pytest.mark.usefixtures("stripes", "recording")
def test_a_rate_that_is_no_tensor_would_be_the_recordings_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the stand-in does what a graph does: the test above can fail."""
    settings = {"schedule": "cosine", "compile": "off"}
    plain = trained(**settings, graph=False)
    monkeypatch.setattr(optim, "_on_gpu", lambda _: False)
    assert not same(plain.kept.state_dict(), trained(**settings, graph=True).kept.state_dict())


@pytest.mark.usefixtures("stripes", "recording")
def test_a_recorded_run_goes_on_where_another_stopped() -> None:
    settings = {"preset": "mnist-gpu", "data": "digits", "crop": 4, "compile": "off", "dropout": 0.2}
    whole = trained(**settings)
    for other in ({"graph": True}, {"graph": False}):
        first = Run.start(preparation.prepare(make_config(**{**TINY, **settings, **other})))
        for _ in islice(first.endless(), WARM_UP + 4):
            pass
        state = first.state_dict()
        second = Run.start(preparation.prepare(make_config(**{**TINY, **settings})))
        second.load_state_dict(state)
        for _ in islice(second.endless(), second.steps - second.steps_done):
            pass
        assert same(whole.kept.state_dict(), second.kept.state_dict())


@pytest.mark.usefixtures("stripes", "undrawn", "recording")
def test_a_step_that_waits_is_not_recorded_and_trains_all_the_same(
    vitcourse: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a learner's may: a look at the loss with .item()."""
    import solutions.ch05_vit as chapter

    step = chapter.train_step

    def looking(*args: Any, **kwargs: Any) -> Tensor:
        loss = step(*args, **kwargs)
        assert loss.item() > 0
        return loss

    done = vitcourse("train", *SMALL, "--epochs=1", "--graph", "--device=cpu", "--output=a")
    assert done.code == 0, done.err
    assert "CUDA graph" not in done.out
    monkeypatch.setattr(chapter, "train_step", looking)
    done = vitcourse("train", *SMALL, "--epochs=1", "--graph", "--device=cpu", "--output=b")
    assert done.code == 0, done.err
    assert "a CUDA graph of the whole step doesn't work here (RuntimeError); the run goes on without it" in done.out
    assert '"graph": false' in Path("b/config.json").read_text(encoding="utf-8")


@pytest.mark.usefixtures("stripes")
@pytest.mark.parametrize(
    "settings",
    [
        {"rotate": 10.0, "stretch": 0.1, "shear": 0.1, "shift": 1, "crop": 4, "optimizer": "muon", "clip": 1.0},
        {"shift": 1, "flip": True, "ema": 0.9, "dropout": 0.1, "optimizer": "adamw", "schedule": "cosine"},
    ],
)
def test_nothing_in_a_step_waits_for_the_device(settings: dict[str, Any]) -> None:
    run = Run.start(preparation.prepare(make_config(**{**TINY, **settings})))
    indices = run.batches.indices()
    run.step(*run.batches.made(next(indices)))  # the first makes the optimiser's state
    with Watch():
        for index in indices:
            run.step(*run.batches.made(index))
    with Watch(), pytest.raises(RuntimeError, match="synchronizing"):
        run.loss_sum.item()


@pytest.mark.thorough
@pytest.mark.skipif(torch.version.cuda is None, reason="this torch was built without CUDA")
def test_the_step_on_a_gpu_that_only_has_shapes() -> None:
    """In a process of its own: kernels of torch are replaced there, which isn't safely undone."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "all_of_a_step"]
    done = subprocess.run(command, env={**os.environ, "VITCOURSE_SHAPES": "1"}, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    assert f"{len(RECIPES)} passed" in done.stdout


@pytest.mark.usefixtures("stripes")
@pytest.mark.skipif("VITCOURSE_SHAPES" not in os.environ, reason="run by the test above, in a process of its own")
@pytest.mark.parametrize("recipe", RECIPES)
def test_all_of_a_step_but_its_backward_pass_on_a_gpu_that_only_has_shapes(
    monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """Torch's fake tensors say where they lie: what mixes devices, or asks for a number, is an error."""
    generator, library = torch.Generator, torch.library.Library("aten", "IMPL")

    class OnCpu:
        def __new__(cls, *_: object) -> Any:
            return generator()

    for name in ("_fused_adamw_.tensor_lr", "_fused_adam_.tensor_lr"):
        library.impl(name, lambda *_, **__: None, "Meta")
    monkeypatch.setattr(preparation, "choose_device", lambda *_: torch.device("cuda:0"))
    monkeypatch.setattr(torch, "Generator", OnCpu)
    # An average of the weights copies a model: a copied mode, with what it holds of torch's, crashes at times.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, _: mode, raising=False)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_: module)

    def train_step(model: Any, images: Tensor, labels: Tensor, optimizer: Any, amp_dtype: Any) -> Tensor:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        return loss

    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda:0"):
        settings = {**TINY, "compile": "off", **RECIPES[recipe], "device": "cuda", "kernels": "own"}
        run = Run.start(preparation.prepare(make_config(**settings)))
        run.setup = replace(run.setup, chapter=SimpleNamespace(train_step=train_step, warmup_cosine=warmup_cosine))
        index = torch.empty(16, dtype=torch.long)
        for _ in range(2):
            loss = run.step(*run.batches.made(index))
        assert {tensor.device.type for tensor in (loss, *run.kept.parameters())} == {"cuda"}
        assert all(group["lr"].is_cuda for group in run.optimizer.param_groups)
        with pytest.raises(DataDependentOutputException):
            loss.item()
    library._destroy()


@pytest.mark.usefixtures("stripes")
def test_what_is_done_otherwise_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on one GPU, with the batches made there, is anything recorded; and only the last measure is in float32."""
    cpu = preparation.prepare(make_config(**{**TINY, "graph": True, "amp": "bf16", "batch_size": 70}))
    assert torch.get_float32_matmul_precision() == "highest"
    gpu = replace(cpu, device=torch.device("cuda"))
    assert (cpu.records, gpu.records) == (False, True)
    assert not replace(gpu, processes=Processes(0, 2)).records
    assert not gpu.changed(pipeline="loader").records
    assert not gpu.changed(graph=False).records
    larger = gpu.changed(batch_size=170)
    assert [setup.evaluation_batch for setup in (cpu, gpu, larger)] == [500, 500, 680]

    seen: list[tuple[str, bool]] = []
    autocast: list[bool] = []

    def evaluate(*_: object) -> float:
        seen.append((torch.get_float32_matmul_precision(), autocast.pop()))
        return 0.5

    def noted(*_: object, enabled: bool) -> Any:
        autocast.append(enabled)
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", noted)
    measured: Any = replace(gpu, chapter=SimpleNamespace(evaluate=evaluate))
    torch.set_float32_matmul_precision("high")
    try:
        for exactly in (False, True):
            measured.accuracy(torch.nn.Identity(), exactly)
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("high", True), ("highest", False)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("recipe", RECIPES)
def test_on_a_gpu_a_recorded_run_is_the_run(stripes: object, recipe: str) -> None:
    settings = {"compile": "off", "device": "cuda", **RECIPES[recipe]}
    plain, recorded = trained(**settings, graph=False), trained(**settings, graph=True)
    for one, other in zip(plain.kept.parameters(), recorded.kept.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.usefixtures("stripes", "recording", "uncompiled")
@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, [16]),
        ({"compile": "default"}, [16, 10]),  # the last batch of a pass is compiled before the run too
        # The recording, between two passes a last batch, and a start of what was recorded, which Python doesn't see.
        ({"graph": True}, [16, 16, 16, 16, 10]),
    ],
)
def test_the_rehearsal_is_as_long_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], sizes: list[int]
) -> None:
    taken: list[int] = []
    train = Run._train

    def noted(run: Run, images: Tensor, labels: Tensor) -> Tensor:
        taken.append(len(labels))
        return train(run, images, labels)

    monkeypatch.setattr(Run, "_train", noted)
    rehearse(preparation.prepare(make_config(**{**TINY, **settings})))
    assert taken == sizes


def test_graphs_of_the_model_are_not_recorded_within_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda model, **how: (modes.append(how.get("mode", "own")), model)[1])
    setup: Any = SimpleNamespace(
        processes=SimpleNamespace(world_size=1), device=torch.device("cuda"), records=False, config=None
    )
    for amp in ("bf16", "off"):
        for records in (False, True):
            for mode in ("default", "reduce-overhead"):
                setup.records, setup.config = records, SimpleNamespace(compile=mode, amp=amp)
                wrapped(torch.nn.Identity(), setup, None)
    # In float32 the compiler is told what to leave alone, which goes without a mode.
    assert modes == ["default", "reduce-overhead", "default", "default", "own", "reduce-overhead", "own", "own"]
