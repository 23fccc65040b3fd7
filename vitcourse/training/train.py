"""A training run from the request to the files that stay: prepare, rehearse, go through the epochs, keep.

The model, the step, the schedule and the measure are those of the chapters, the reference's or a learner's.
"""

import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict
from typing import Any

import torch
from rich.console import Console

from vitcourse.errors import RequestError, RunError, misfit
from vitcourse.training.chapters import faults_in_one_line
from vitcourse.training.checkpoints import CHECKPOINT, Pace, StopOnInterrupt, checkpoint_file, read_checkpoint
from vitcourse.training.devices import machine_errors_in_one_line
from vitcourse.training.display import Display
from vitcourse.training.loop import Run
from vitcourse.training.measure import answers, as_csv
from vitcourse.training.original import loss_floor, side_by_side
from vitcourse.training.pictures import draw_curves, draw_predictions, png
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import LOSSES, MAY_DIFFER, PRESETS, TrainConfig, settings
from vitcourse.training.processes import ALONE, Processes
from vitcourse.training.rehearsal import Rehearsal, rehearse
from vitcourse.training.runs import CONFIG, DIVERGED, RESULT, WEIGHTS, DivergedError, Result, RunFolder, provenance
from vitcourse.training.trained import weights_file

# What only makes a run faster: the value that goes without it, and what it is. What builds on the others comes first.
FASTER: dict[str, tuple[Any, str]] = {
    "graph": (False, "a CUDA graph of the whole step"),
    "compile": ("off", "torch.compile"),
    "kernels": ("own", "what torch's kernels compute"),
}


def train(config: TrainConfig, folder: RunFolder, console: Console, processes: Processes = ALONE) -> dict[str, Result]:
    """Train as the configuration says and keep everything in the folder: one result for each loss, by its name.

    Where the folder holds a checkpoint of this run, it goes on from there. A run that Ctrl-C stopped gives a result
    that isn't finished. Of several processes the first alone writes into the folder.
    Raises RequestError for what can't be done, and RunError for a run that fails on its way.
    """
    with machine_errors_in_one_line(config):
        # Whether all that the run needs is in its checkpoint; of two runs the second may still have to start.
        resumed = config.loss != "both" and not folder.new and (folder.path / CHECKPOINT).exists()
        setup = prepare(config, processes, resumed=resumed)
    with setup.processes.joined(setup.device), faults_in_one_line(setup.code), machine_errors_in_one_line(config):
        if setup.config.compile != "off":
            console.print("compiling the model, which takes a while the first time")
        setup, rehearsal = rehearsed(setup, console)
        _announce(setup, rehearsal, console)
        folder = folder.begun()
        with StopOnInterrupt() as stop:
            try:
                if config.loss != "both":
                    return {config.loss: _train_one(setup, folder, console, stop)}
                return _train_both(setup, folder, console, stop)
            except KeyboardInterrupt as error:
                raise RunError(f"stopped at once; {_to_go_on(folder)}") from error


def rehearsed(setup: Setup, console: Console) -> tuple[Setup, Rehearsal]:
    """The rehearsal, if need be without the settings that only make it faster and don't work here, or are slower."""
    on = {name: getattr(setup.config, name) != plain for name, (plain, _) in FASTER.items()} | {"graph": setup.records}
    fast = [name for name in FASTER if on[name]]
    try:
        rehearsal = rehearse(setup)
        for name in fast:
            if name in setup.left_open and rehearsal.too_slow(name):
                return rehearsed(setup.changed(**{name: FASTER[name][0]}), console)
        return setup, rehearsal
    except (RequestError, RunError):
        raise
    except Exception as error:
        if not fast:
            raise
        # Either this way of computing fails, which may need a C++ compiler or Triton, or the model does, here too.
        found = rehearsed(setup.changed(**{fast[0]: FASTER[fast[0]][0]}), console)
        console.print(f"{FASTER[fast[0]][1]} doesn't work here ({type(error).__name__}); the run goes on without it")
        return found


def _announce(setup: Setup, rehearsal: Rehearsal, console: Console) -> None:
    data = setup.dataset
    for line in (*(f"skipped {line}" for line in data.skipped), *setup.notes):
        console.print(line)
    console.print(
        f"{data.name}: {len(setup.train_images):,} training images, {len(data.test_images):,} {setup.measured_on}, "
        f"{len(data.classes)} classes"
    )
    threads = f" (threads: {torch.get_num_threads()})" if setup.device.type == "cpu" else ""
    console.print(f"device {setup.device_name}{threads}")
    console.print(f"parameters {rehearsal.parameters:,}")
    if setup.left_open:
        console.print(_way(setup, rehearsal))
    share = " of one process" if setup.processes.world_size > 1 else ""
    console.print(f"first batch{share}: {rehearsal.shapes}")


def _way(setup: Setup, rehearsal: Rehearsal) -> str:
    """How a step is computed, and what that gains."""
    compiled = ["torch.compile"] if setup.config.compile != "off" else []
    how = ", ".join(([rehearsal.how] if rehearsal.how else []) + compiled)
    if not how:
        if "kernels" not in setup.left_open:
            why = "--kernels own asks for it"
        elif setup.config.kernels == "own":  # taken back
            why = "torch's kernels gain nothing here"
        else:
            why = "nothing that is faster gives the same here"
        return f"a step is computed as the lines are written: {why}"
    gained = ""
    if rehearsal.paces:
        lines, chosen = (1000 * rehearsal.paces[way] for way in ("kernels", "chosen"))
        gained = f", {lines / chosen:.2f} times as fast as the lines ({lines:.1f} ms, now {chosen:.1f})"
    return f"a step is computed by {how}: the same numbers{gained}; the lines as written: --kernels own --compile off"


def _train_both(setup: Setup, folder: RunFolder, console: Console, stop: StopOnInterrupt) -> dict[str, Result]:
    folder.write_json(CONFIG, asdict(setup.config))
    results: dict[str, Result] = {}
    for loss in LOSSES:
        if not setup.processes.any_of(stop.requested)[0]:
            console.print(f"loss: {loss}")
            results[loss] = _train_one(setup.changed(loss=loss), folder.part(loss), console, stop)
    n_classes = len(setup.dataset.classes)
    floor = loss_floor(n_classes)
    curves = {loss: result.epochs for loss, result in results.items()}
    folder.write("curves.png", png(draw_curves(curves, setup.measured_on, n_classes, _title(setup.config))))
    folder.write_json(RESULT, {"floor": floor, "runs": {loss: asdict(r) for loss, r in results.items()}})
    console.print(side_by_side(results))
    console.print(f"with the softmax in front the loss can't go below {floor:.4f}")
    if len(results) == 1 and results["cross-entropy"].finished:
        raise RunError("stopped before the run with the softmax in front began")
    return results


@contextmanager
def _noted(folder: RunFolder) -> Iterator[None]:
    """Keep in the folder that the loss became no number, so that nobody is told to go on with it."""
    folder.remove(DIVERGED)
    try:
        yield
    except DivergedError as error:
        folder.write(DIVERGED, f"{error}\n")
        raise


def _train_one(setup: Setup, folder: RunFolder, console: Console, stop: StopOnInterrupt) -> Result:
    result = folder.result
    if result is not None and result.finished:
        console.print(f"{folder.path}: finished already, accuracy {result.accuracy:.2%}")
        folder.remove(CHECKPOINT)
        return result
    run = Run.start(setup)
    _resume(run, folder, console)
    # Written before the first step: a folder that can't be written ends the run now, not after it.
    folder.write_json(CONFIG, asdict(setup.config))
    folder.write_epochs(run.epochs)

    def checkpoint() -> None:
        state = {"config": _what_decides(setup.config), "data": setup.data_fingerprint, "run": run.state_dict()}
        folder.write(CHECKPOINT, checkpoint_file(state))

    pace = Pace(checkpoint)
    pace.keep()
    with _noted(folder), Display(console, setup.config.epochs, run.steps) as display:
        while len(run.epochs) < setup.config.epochs:
            number = len(run.epochs) + 1
            if not run.epoch(number, display, stop, pace):
                pace.keep()
                break
            display.done(run.end_epoch(number), run.steps_done)
            folder.write_epochs(run.epochs)
            stopping, due = setup.processes.any_of(stop.requested, pace.due)
            if stopping or due or number == setup.config.epochs:
                pace.keep()
            if stopping:
                break
    return _keep(run, folder, console)


def _resume(run: Run, folder: RunFolder, console: Console) -> None:
    file = folder.path / CHECKPOINT
    if not file.exists():
        return
    state = read_checkpoint(file)
    elsewhere = f"{file} is a checkpoint of another run"
    refusal = f"the checkpoint {file} doesn't fit the model of {run.setup.code.name} any more"
    try:
        # A run from before a setting was there has it as it is by default.
        default = {setting.name: setting.default for setting in settings() if setting.default is not MISSING}
        if default | state["config"] != default | _what_decides(run.setup.config):
            raise RequestError(f"{elsewhere}: its settings are others; type --output with another folder")
        if state["data"] != run.setup.data_fingerprint:
            raise RequestError(f"{elsewhere}: the training images are others now; type --output with another folder")
        anew = run.load_state_dict(state["run"])
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise RequestError(f"{refusal} ({misfit(error)}); type --output with another folder to start anew") from error
    console.print(f"resumed from {file}: epoch {len(run.epochs) + 1}, step {run.steps_done + 1:,} of {run.steps:,}")
    if anew:
        console.print(f"it comes from another kind of device: {' and '.join(anew)} are drawn anew from here")


def _what_decides(config: TrainConfig) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in MAY_DIFFER}


def _keep(run: Run, folder: RunFolder, console: Console) -> Result:
    setup, config, epochs = run.setup, run.setup.config, run.epochs
    cpu_seconds, wall_seconds = run.spent
    # An epoch cut short leaves weights that were not measured yet.
    measured = epochs and run.steps_done == len(epochs) * len(run.batches)
    accuracy = epochs[-1].accuracy if measured else setup.accuracy(run.kept)
    # The weights first: whatever happens after this, they are there.
    folder.write(WEIGHTS, weights_file(run.kept, setup))
    result = Result(
        accuracy=accuracy,
        measured_on=setup.measured_on,
        n_measured=len(setup.dataset.test_images),
        finished=len(epochs) == config.epochs,
        steps=run.steps_done,
        parameters=sum(parameter.numel() for parameter in run.kept.parameters()),
        device=setup.device_name,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        epochs=epochs,
        provenance=provenance(),
    )
    softmax_over = len(setup.dataset.classes) if config.loss == "original" else None
    folder.write("curves.png", png(draw_curves({config.loss: epochs}, setup.measured_on, softmax_over, _title(config))))
    given = answers(setup, run.kept)
    classes = setup.dataset.classes
    folder.write("predictions.png", png(draw_predictions(setup.dataset.test_images, given, classes)))
    folder.write("confusion.csv", as_csv(given.confusion(len(classes)), classes))
    # Last: a run that has a result has everything.
    folder.write_json(RESULT, asdict(result))
    if result.finished:
        folder.remove(CHECKPOINT)
    _report(result, run, folder, console)
    return result


def _title(config: TrainConfig) -> str:
    return f"{config.preset}, trained on {config.data}"


def _report(result: Result, run: Run, folder: RunFolder, console: Console) -> None:
    if not result.finished:
        console.print(f"stopped after step {result.steps:,}; what was learned so far is kept")
    right = round(result.accuracy * result.n_measured)
    console.print(
        f"accuracy {result.accuracy:.2%}: {right:,} of {result.n_measured:,} {result.measured_on} right; "
        f"{result.cpu_seconds:.1f} CPU seconds, {result.wall_seconds:.1f} on the clock"
    )
    if not folder.writes:
        return
    files = f"{folder.path}: {', '.join(sorted(entry.name for entry in folder.path.iterdir()))}"
    if not result.finished:
        console.print(files)
        console.print(_to_go_on(folder))
        return
    if fault := learned_nothing(result, run):
        console.print(fault)
    named = shlex.quote(str(folder.path))
    console.print(f"to ask it about a picture of yours: vitcourse predict PICTURE --run {named}")
    console.print(f"to look inside it: vitcourse explore {named}; all runs side by side: vitcourse runs")
    console.print(files)


def _to_go_on(folder: RunFolder) -> str:
    return f"to go on, type: vitcourse train --resume --output {shlex.quote(str(folder.path))}"


def learned_nothing(result: Result, run: Run) -> str | None:
    """A line about a run that ends where guessing would, or None."""
    setup = run.setup
    labels = setup.dataset.test_labels
    guessing = float(labels.bincount().max() / len(labels))  # always the same answer, the best one
    chance = math.log(len(setup.dataset.classes))
    loss = result.epochs[-1].loss
    # Of the first steps' loss alone nothing is to be said: it was taken before they had an effect.
    far = min(2 * guessing, 0.5 + guessing / 2)
    learned = result.accuracy > guessing and (loss < 0.98 * chance or result.accuracy > far)
    if setup.config.data == "random" or learned:
        return None
    rate, usual = setup.config.learning_rate, PRESETS[setup.config.preset].learning_rate
    other = usual if rate != usual else rate / 10
    return (
        f"it learned nothing: its loss is {loss:.4g} where guessing has {chance:.4g}, its accuracy "
        f"{result.accuracy:.2%} where one and the same answer has {guessing:.2%}; type --learning-rate {other:g}, "
        "or --clip 1, or more --epochs"
    )
