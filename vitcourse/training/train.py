"""A training run from the request to the files that stay: prepare, rehearse, go through the epochs, keep.

The model, the step, the schedule and the measure are those of the chapters, the reference's or a learner's.
"""

import time
from dataclasses import asdict, replace

import torch
from rich.console import Console
from torch import nn

from vitcourse.errors import RunError
from vitcourse.training.display import make_display
from vitcourse.training.interrupt import StopOnInterrupt
from vitcourse.training.learner import faults_in_one_line
from vitcourse.training.loop import Run
from vitcourse.training.original import loss_floor, side_by_side
from vitcourse.training.pictures import Answer, draw_curves, draw_predictions, png
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import TrainConfig
from vitcourse.training.rehearsal import Rehearsal, rehearse
from vitcourse.training.runs import Epoch, Result, RunFolder, provenance
from vitcourse.training.trained import WEIGHTS, weights_file

N_SHOWN = 16


def train(config: TrainConfig, folder: RunFolder, console: Console) -> dict[str, Result]:
    """Train as the configuration says and keep everything in the folder: one result for each loss, by its name.

    A run that Ctrl-C stopped gives a result that isn't finished.
    Raises RequestError for what can't be done, and RunError for a run that fails on its way.
    """
    setup = prepare(config)
    with faults_in_one_line(setup.code):
        _announce(setup, rehearse(setup), console)
        with StopOnInterrupt() as stop:
            if config.loss != "both":
                return {config.loss: _train_one(setup, folder, console, stop)}
            return _train_both(setup, folder, console, stop)


def _announce(setup: Setup, rehearsal: Rehearsal, console: Console) -> None:
    data = setup.dataset
    for line in data.skipped:
        console.print(f"skipped {line}")
    console.print(
        f"{data.name}: {len(setup.train_images):,} training images, {len(setup.test_images):,} {setup.measured_on}, "
        f"{len(data.classes)} classes"
    )
    threads = f" (threads: {torch.get_num_threads()})" if setup.device.type == "cpu" else ""
    console.print(f"device {setup.device_name}{threads}")
    console.print(f"parameters {rehearsal.parameters:,}")
    console.print(f"first batch: {rehearsal.shapes}")


def _train_both(setup: Setup, folder: RunFolder, console: Console, stop: StopOnInterrupt) -> dict[str, Result]:
    folder.write_json("config.json", asdict(setup.config))
    results: dict[str, Result] = {}
    for loss in ("cross-entropy", "original"):
        if not stop.requested:
            console.print(f"loss: {loss}")
            part = replace(setup, config=replace(setup.config, loss=loss))
            results[loss] = _train_one(part, folder.part(loss), console, stop)
    n_classes = len(setup.dataset.classes)
    floor = loss_floor(n_classes)
    curves = {loss: result.epochs for loss, result in results.items()}
    folder.write("curves.png", png(draw_curves(curves, setup.measured_on, n_classes)))
    folder.write_json("result.json", {"floor": floor, "runs": {loss: asdict(r) for loss, r in results.items()}})
    console.print(side_by_side(results))
    console.print(f"with the softmax in front the loss can't go below {floor:.4f}")
    if len(results) == 1 and results["cross-entropy"].finished:
        raise RunError("stopped before the run with the softmax in front began")
    return results


def _train_one(setup: Setup, folder: RunFolder, console: Console, stop: StopOnInterrupt) -> Result:
    # Written before the first step: a folder that can't be written ends the run now, not after it.
    folder.write_json("config.json", asdict(setup.config))
    wall, cpu = time.perf_counter(), time.process_time()
    run = Run.start(setup)
    epochs: list[Epoch] = []
    folder.write_epochs(epochs)
    with make_display(console, setup.config.epochs, run.steps) as display:
        for number in range(1, setup.config.epochs + 1):
            epoch = run.epoch(number, display, stop)
            if epoch is None:
                break
            epochs.append(epoch)
            folder.write_epochs(epochs)
            if stop.requested:
                break
    seconds = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    return _keep(run, epochs, folder, console, **seconds)


def _keep(run: Run, epochs: list[Epoch], folder: RunFolder, console: Console, **seconds: float) -> Result:
    setup, config = run.setup, run.setup.config
    # The weights first: whatever happens after this, they are there.
    about = (setup.model_arguments, config, setup.dataset.classes, setup.mean, setup.std)
    folder.write(WEIGHTS, weights_file(run.kept, *about))
    # An epoch cut short leaves weights that were not measured yet.
    measured = epochs and run.steps_done == len(epochs) * len(run.batches)
    accuracy = epochs[-1].accuracy if measured else setup.accuracy(run.kept)
    result = Result(
        accuracy=accuracy,
        measured_on=setup.measured_on,
        n_measured=len(setup.test_images),
        finished=len(epochs) == config.epochs,
        steps=run.steps_done,
        parameters=sum(parameter.numel() for parameter in run.kept.parameters()),
        device=setup.device_name,
        epochs=epochs,
        provenance=provenance(),
        **seconds,
    )
    folder.write_json("result.json", asdict(result))
    softmax_over = len(setup.dataset.classes) if config.loss == "original" else None
    folder.write("curves.png", png(draw_curves({config.loss: epochs}, setup.measured_on, softmax_over)))
    folder.write("predictions.png", png(draw_predictions(_answers(setup, run.kept))))
    _report(result, folder, console)
    return result


@torch.no_grad()
def _answers(setup: Setup, model: nn.Module) -> list[Answer]:
    # Always the same images of a data set, so that runs can be compared; drawn, since some sets are sorted by class.
    n_images = len(setup.test_images)
    chosen = torch.randperm(n_images, generator=torch.Generator().manual_seed(0))[:N_SHOWN]
    probabilities = model.eval()(setup.test_images[chosen.to(setup.device)]).float().softmax(dim=-1).cpu()  # (16, K)
    classes = setup.dataset.classes
    return [
        Answer(image.numpy(), classes[truth], classes[int(p.argmax())], float(p.max()))
        for image, truth, p in zip(
            setup.dataset.test_images[chosen], setup.dataset.test_labels[chosen].tolist(), probabilities, strict=True
        )
    ]


def _report(result: Result, folder: RunFolder, console: Console) -> None:
    if not result.finished:
        console.print(f"stopped after {result.steps:,} steps; what was learned so far is kept")
    right = round(result.accuracy * result.n_measured)
    console.print(
        f"accuracy {result.accuracy:.2%}: {right:,} of {result.n_measured:,} {result.measured_on} right; "
        f"{result.cpu_seconds:.1f} CPU seconds, {result.wall_seconds:.1f} on the clock"
    )
    console.print(f"{folder.path}: {', '.join(folder.files())}")
