"""A few steps and a measure before a run, with a model that is thrown away: what can't work ends here, in one line."""

import math
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vitcourse.errors import RequestError, RunError
from vitcourse.training.graph import WARM_UP
from vitcourse.training.loop import Run
from vitcourse.training.measure import outputs_of
from vitcourse.training.original import with_loss_of
from vitcourse.training.preparation import Setup
from vitcourse.training.steps import take_step

# The stages at which a batch is looked at: the attribute of the model, and the symbols of its output's axes.
STAGES = {"patches": ("patch_embedding", "B N D"), "tokens": ("positional_encoding", "B T D")}

# Measuring may take so many rounds, one in a hundred of the run's steps, and then no more than this time.
ROUNDS, SHARE, SECONDS = 10, 100, 1.0
# Below this a difference may be chance, and the same run is to be the same again.
CLEARLY = 1.25


@dataclass(frozen=True)
class Rehearsal:
    """What it showed: how many numbers the model learns, and the shapes of the first batch on its way.

    `how` says how a step is computed otherwise than by the model's lines. `paces` are the seconds of a step as it was
    chosen, under "chosen", and without the setting "compile", or "kernels" too; of a run too short for it, none.
    """

    parameters: int
    shapes: str
    how: str = ""
    paces: dict[str, float] = field(default_factory=dict)

    def too_slow(self, setting: str) -> bool:
        """Whether a step is clearly slower with this setting than without."""
        return setting in self.paces and self.paces["chosen"] > CLEARLY * self.paces[setting]


def rehearse(setup: Setup) -> Rehearsal:
    """Take the first batch through the model, the step and the measure, as the run will.

    Raises RequestError when the machine's memory is too small, RunError when an answer doesn't return what it should.
    """
    _require_memory(setup)
    run = Run.start(setup)
    images, _ = next(iter(run.batches))
    shapes = _shapes(run.kept, images)
    _require("5.3", isinstance(setup.chapter.warmup_cosine(1, 1, 2), float | int), "warmup_cosine returns no number")
    for _ in run.endless():
        if (run.recorded.calls if run.recorded else run.steps_done) == _n_steps(setup):
            break
    short = len(run.batches.images) % setup.config.batch_size
    if setup.config.compile != "off" and short:
        # The last batch of a pass is compiled for itself: now, and not within the first epoch.
        last = run.batches.made(torch.arange(short, device=run.batches.images.device))
        run.step(*(part.to(setup.device) for part in last))
    # As many test images at once as there will be: the larger of the two batches decides about the memory.
    size = setup.evaluation_batch
    accuracy = setup.chapter.evaluate(run.kept, setup.test_images[:size], setup.test_labels[:size], size)
    _require("5.5", isinstance(accuracy, float | int | Tensor), "evaluate returns no number")
    run.recorded = None  # it knows the run, and so would keep its memory
    return Rehearsal(sum(parameter.numel() for parameter in run.kept.parameters()), shapes, run.how, _paces(run))


def _paces(run: Run) -> dict[str, float]:
    """Seconds of a step as it was chosen and as the lines say, the ways in turns, each one's shortest."""
    setup, config = run.setup, run.setup.config
    ways = {"chosen": run.trained, "kernels": with_loss_of(config, run.model)}
    if config.compile != "off":
        ways["compile"] = with_loss_of(config, run.twin)
    rounds = min(ROUNDS, run.steps // SHARE)
    # What is recorded, or shared by several processes, has no other way beside it.
    alone = not setup.records and setup.processes.world_size == 1
    if not (setup.left_open and rounds and alone) or (not run.how and config.compile == "off"):
        return {}
    images, labels = next(iter(run.batches))
    paces: dict[str, float] = {}
    # One thread's own time is the same on a machine that others use.
    one_thread = setup.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if one_thread else time.perf_counter
    started = time.perf_counter()
    for number in range(rounds + 1):
        for way, model in ways.items():
            before = clock()
            float(take_step(setup, model, images, labels, run.optimizer))
            if number:  # the first step of each allocates
                paces[way] = min(paces.get(way, math.inf), clock() - before)
        if number and time.perf_counter() - started > SECONDS:
            break
    return paces


def _n_steps(setup: Setup) -> int:
    """As many as it takes until each further step is like the last."""
    if setup.records:
        return WARM_UP + 2  # the recording, and one more
    if setup.config.compile != "off" and setup.device.type == "cuda":
        return 3  # CUDA graphs of the model: a step as it is, the recording, the recording started
    return 1


def _require_memory(setup: Setup) -> None:
    """Refuse what can't fit into a computer's memory, which would otherwise swap, or end without a word."""
    if setup.device.type != "cpu":
        return
    config, (height, width) = setup.config, setup.image_size
    at_once = config.micro_batch or config.batch_size
    batch = min(at_once, config.batch_size, len(setup.train_images)) / setup.processes.world_size
    n_tokens = height * width // config.patch_size**2 + 1
    an_image = config.n_layers * bytes_kept(n_tokens, config.d_model, config.n_heads, config.mlp_ratio)
    needed, there = batch * an_image, _memory()
    if there is not None and needed > there:
        raise RequestError(
            f"a step of {batch:,.0f} images needs about {needed / 2**30:,.0f} GiB, and there are {there / 2**30:,.0f}; "
            f"type a smaller {'--micro-batch' if config.micro_batch else '--batch-size'}"
        )


def bytes_kept(n_tokens: int, d_model: int, n_heads: int, mlp_ratio: int) -> int:
    """What a layer keeps of an image for its backward pass, in float32, attention's weights included.

    Source: Korthikanti et al. 2022 (arXiv:2205.05198), equation 1, there for half as many bytes a number.
    """
    return n_tokens * (2 * d_model * (18 + 4 * mlp_ratio) + 10 * n_heads * n_tokens)


def _memory() -> int | None:
    """The computer's memory in bytes, where the system tells it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _shapes(model: nn.Module, images: Tensor) -> str:
    # A learner's model may have other parts; then that stage stays unsaid.
    parts = {stage: getattr(model, attribute, None) for stage, (attribute, _) in STAGES.items()}
    with torch.no_grad(), ExitStack() as hooks:
        outputs = {s: hooks.enter_context(outputs_of(part)) for s, part in parts.items() if isinstance(part, nn.Module)}
        logits = model(images)
    seen = [_named(stage, STAGES[stage][1], output) for stage, found in outputs.items() for output in found]
    return " -> ".join([_named("images", "B C H W", images), *seen, _named("logits", "B K", logits)])


def _require(exercise: str, holds: bool, fault: str) -> None:
    if not holds:
        raise RunError(f"{fault}; to find out why, type vitcourse check {exercise}")


def _named(stage: str, symbols: str, tensor: Tensor) -> str:
    sizes = ", ".join(f"{symbol}={size}" for symbol, size in zip(symbols.split(), tensor.shape, strict=False))
    return f"{stage} ({sizes})"
