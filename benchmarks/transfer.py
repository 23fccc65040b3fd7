"""Does pre-training pay? A ViT that knows MNIST's 0 to 4 learns 5 to 9 from few labels; into results/transfer.json.

Against it stands the same model from scratch: the same images, augmentations, steps and schedule. Each way has the
learning rate that was best for it on held-out training images, of another seed.

In the course's folder, type: python benchmarks/transfer.py
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared import cpu_seconds, keep, trained, tuned
from vitcourse.data import Dataset, load_dataset
from vitcourse.training.configuration import make_config
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.presets import TrainConfig
from vitcourse.training.runs import WEIGHTS
from vitcourse.training.trained import weights_file

SEEDS = (0, 1, 2)
TUNING_SEED = 100
PER_CLASS = (10, 30, 100)
RATES = (3e-4, 1e-3, 3e-3)
LAYER_DECAY = 0.75
PRETRAINING = {"epochs": 4, "compile": "off"}
STEPS = 300

# Whether it starts from the run, and the decay of its learning rate from layer to layer.
WAYS = {"from scratch": (False, 1.0), "fine-tuned": (True, 1.0), "fine-tuned, rates by layer": (True, LAYER_DECAY)}


def main() -> None:
    """Pre-train, choose the learning rates, measure with each seed, and write all of it down."""
    mnist = load_dataset("mnist")
    with tempfile.TemporaryDirectory() as folder:
        runs = {seed: pretrained(mnist, seed, Path(folder) / str(seed)) for seed in (*SEEDS, TUNING_SEED)}
        rows = []
        for n in PER_CLASS:
            for name in WAYS:

                def accuracy(rate: float, seed: int, held_out: bool, n: int = n, name: str = name) -> float:
                    from_run, layer_decay = WAYS[name]
                    init = str(runs[seed][0]) if from_run else None
                    data = few(mnist, range(5, 10), n, seed, held_out=held_out)
                    return accuracy_after(data, seed, learning_rate=rate, init=init, layer_decay=layer_decay)

                rows.append({"per_class": n, "way": name, **tuned(RATES, TUNING_SEED, SEEDS, accuracy)})
    accuracies = [round(runs[seed][2], 4) for seed in SEEDS]
    keep(
        "transfer",
        "accuracy on MNIST's 5 to 9 after few labels of them, from scratch and from a model that was pre-trained on "
        "0 to 4",
        seeds=len(SEEDS),
        pretraining={"images": runs[SEEDS[0]][1], "epochs": PRETRAINING["epochs"], "accuracies": accuracies},
        steps=STEPS,
        layer_decay=LAYER_DECAY,
        rates_tried=RATES,
        n_test=len(few(mnist, range(5, 10), 1, 0).test_labels),
        rows=rows,
        cpu_seconds=cpu_seconds(),
    )


def pretrained(mnist: Dataset, seed: int, folder: Path) -> tuple[Path, int, float]:
    """A run on 0 to 4: its folder, how many images it saw, its accuracy."""
    config = make_config("mnist", device="cpu", seed=seed, **PRETRAINING)
    setup = with_data(prepare(config), few(mnist, range(5), None, seed))
    model = trained(setup).kept
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(weights_file(model, setup))
    accuracy = setup.accuracy(model)
    print("pre-trained", seed, accuracy, file=sys.stderr, flush=True)
    return folder, len(setup.train_images), accuracy


def accuracy_after(data: Dataset, seed: int, **settings: Any) -> float:
    """The accuracy after so many steps on a data set, from scratch or not."""
    size = min(50, len(data.train_labels))
    per_pass = -(-len(data.train_labels) // size)
    config: TrainConfig = make_config(
        "mnist", device="cpu", seed=seed, optimizer="adamw", batch_size=size, epochs=STEPS // per_pass, compile="off",
        **settings,
    )  # fmt: skip
    # Weights are read for the data that they are to learn.
    setup = with_data(prepare(config), data)
    return setup.accuracy(trained(setup).kept)


def few(mnist: Dataset, digits: range, n: int | None, seed: int, *, held_out: bool = False) -> Dataset:
    """These digits alone, n training images of each, drawn by the seed; held out, 400 others of each as the test."""
    generator = torch.Generator().manual_seed(seed)
    chosen, others = [], []
    for digit in digits:
        places = (mnist.train_labels == digit).nonzero().flatten()
        places = places[torch.randperm(len(places), generator=generator)]
        chosen.append(places[:n])
        others.append(places[n : n + 400] if n else places[:0])
    train, rest = torch.cat(chosen), torch.cat(others)
    test = torch.isin(mnist.test_labels, torch.tensor(digits))
    test_images, test_labels = mnist.test_images[test], mnist.test_labels[test]
    if held_out:
        test_images, test_labels = mnist.train_images[rest], mnist.train_labels[rest]
    return replace(
        mnist,
        train_images=mnist.train_images[train],
        train_labels=mnist.train_labels[train] - digits.start,
        test_images=test_images,
        test_labels=test_labels - digits.start,
        classes=tuple(map(str, digits)),
    )


def with_data(setup: Setup, data: Dataset) -> Setup:
    """The same setup on other data, standardised as MNIST is."""
    on_device = {name: getattr(data, name) for name in ("train_images", "train_labels", "test_labels")}
    return replace(setup, dataset=data, test_images=setup.as_input(data.test_images), **on_device)


if __name__ == "__main__":
    main()
