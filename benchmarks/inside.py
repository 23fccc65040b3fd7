"""What the maps of chapter 6 show on whole test sets; into results/inside.json.

On the digits in patches of 2 by 2, as chapter 6's page trains them, several seeds: how far attention, rollout and
occlusion agree. On a trained MNIST model, how far each head looks.

In the course's folder, type: python benchmarks/inside.py 2 runs/best
The last word is the folder of a run of the preset mnist-gpu; one that was stopped will do. Without it, what is known of
MNIST stays.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.shared import RESULTS, cpu_seconds, keep, trained
from vitcourse.codesets import load_code
from vitcourse.data import load_dataset
from vitcourse.files import read_json
from vitcourse.training.configuration import make_config
from vitcourse.training.preparation import Setup, prepare
from vitcourse.training.trained import load_trained

N_IMAGES = 1000  # of MNIST's test images: the mean over them has settled by then
P = 2

chapter = load_code("solutions").module("ch06_inside")


def main() -> None:
    """Measure both and write them down."""
    n_seeds, runs = int(sys.argv[1]), sys.argv[2:]
    made = {seed: trained_digits(seed) for seed in range(n_seeds)}
    keep(
        "inside",
        "agreement of attention, rollout and occlusion over the 360 test digits, P = 2, for several models; "
        "and the distance that each head of a model of MNIST looks over",
        digits=[agreement(seed, *made[seed]) for seed in made],
        between_seeds=between_seeds([model for _, model in made.values()], made[0][0]),
        mnist=distances(runs[0]) if runs else read_json(RESULTS / "inside.json")["mnist"],
        cpu_seconds=cpu_seconds(),
    )


def trained_digits(seed: int) -> tuple[Setup, nn.Module]:
    """The model of the page, of another seed."""
    config = make_config("digits", patch_size=P, epochs=15, shift=0, dropout=0.1, device="cpu", seed=seed)
    setup = prepare(config)
    return setup, trained(setup).kept


def maps(setup: Setup, model: nn.Module) -> dict[str, Tensor]:
    """For every test image, what each method says of its 16 patches: (n, N)."""
    images, labels = setup.test_images, setup.test_labels
    weights = chapter.attention_maps(model, images)  # (L, n, h, T, T)
    black = float(-setup.mean / setup.std)
    return {
        "attention": weights[..., 0, 1:].mean((0, 2)),
        "attention, last layer": weights[-1, :, :, 0, 1:].mean(1),
        "rollout": chapter.attention_rollout(weights)[:, 0, 1:],
        "ink": nn.functional.avg_pool2d(images, P).flatten(1),
        "occlusion, grey": chapter.occlusion_map(model, images, labels, P).flatten(1),
        "occlusion, black": chapter.occlusion_map(model, images, labels, P, fill=black).flatten(1),
    }


def agreement(seed: int, setup: Setup, model: nn.Module) -> dict[str, Any]:
    """How far each map agrees with occlusion by the mean grey, image by image."""
    found = maps(setup, model)
    fall = found.pop("occlusion, grey")
    return {
        "seed": seed,
        "accuracy": round(setup.accuracy(model), 4),
        **{name: compared(values, fall) for name, values in found.items()},
    }


def between_seeds(models: list[nn.Module], setup: Setup) -> dict[str, Any]:
    """How far the occlusion maps, and the attention maps, of each two models agree."""
    found = [maps(setup, model) for model in models]
    pairs = [(one, other) for one in range(len(models)) for other in range(one)]
    result = {}
    for name in ("attention", "occlusion, grey"):
        each = [compared(found[one][name], found[other][name]) for one, other in pairs]
        result[name] = {key: round(sum(pair[key] for pair in each) / len(each), 3) for key in each[0]}
    return result


def compared(one: Tensor, other: Tensor) -> dict[str, float]:
    """The mean over images of the correlation over patches, and how often the same patch is at the top."""
    a, b = (values - values.mean(1, keepdim=True) for values in (one, other))
    correlation = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return {
        "correlation": round(float(correlation.mean()), 3),
        "same_top_patch": round(float((one.argmax(1) == other.argmax(1)).float().mean()), 3),
    }


def distances(run: str) -> dict[str, Any]:
    """The distance of each head, of the trained model and of one with fresh weights; and that of equal weights."""
    known = load_trained(run)
    images = known.as_input(*(known.see(image) for image in load_dataset("mnist").test_images[:N_IMAGES]))
    patch_size = known.config.patch_size
    grid = (known.image_size[0] // patch_size, known.image_size[1] // patch_size)
    torch.manual_seed(0)
    fresh = prepare(known.config).make_model()

    def measured(weights: Tensor) -> list[list[float]]:
        found = chapter.attention_distance(weights, grid, patch_size)
        return [[round(float(head), 3) for head in layer] for layer in found]

    weights = chapter.attention_maps(known.model, images)
    result = json.loads((Path(run) / "result.json").read_text(encoding="utf-8"))
    return {
        "accuracy": round(result["accuracy"], 4),
        "preset": known.config.preset,
        "epochs": len(result["epochs"]),
        "of_epochs": known.config.epochs,
        "images": N_IMAGES,
        "image_size": known.image_size,
        "patch_size": patch_size,
        "trained": measured(weights),
        "untrained": measured(chapter.attention_maps(fresh, images)),
        "equal_weights": measured(torch.ones_like(weights[:1, :1, :1]) / weights.shape[-1])[0][0],
    }


if __name__ == "__main__":
    main()
