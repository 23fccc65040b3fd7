"""Few images, a ViT and a small convolutional network; into results/small_data.json.

Same images, same number of steps, same optimiser and schedule; of two learning rates each has the one that was better
on training images which nobody learned from. About as many parameters each.

In the course's folder, type: python benchmarks/small_data.py
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.shared import cpu_seconds, keep, tuned
from vitcourse.codesets import load_code
from vitcourse.data import load_dataset
from vitcourse.training.batches import standardised

SIZES = (100, 300, 1000)
SEEDS = (0, 1, 2)
TUNING_SEED = 100
RATES = (1e-3, 3e-3)
STEPS, BATCH = 300, 50

vit = load_code("solutions").module("ch05_vit")


def cnn() -> nn.Module:
    """Three convolutions of 3 by 3, as the page shows it."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 112, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(448, 10),
    )  # fmt: skip


PRESET = {"d_model": 64, "n_layers": 3, "n_heads": 4, "mlp_ratio": 2, "dropout": 0.1}  # the sizes of the preset digits
MODELS: dict[str, Callable[[], nn.Module]] = {"CNN": cnn, "ViT": partial(vit.VisionTransformer, 8, 4, 1, 10, **PRESET)}


def main() -> None:
    """Train them all and write down how they do."""
    torch.set_num_threads(1)
    digits = load_dataset("digits")
    everything = standardised(digits.train_images, digits.mean, digits.std)
    test = standardised(digits.test_images, digits.mean, digits.std), digits.test_labels
    rows = []
    for n in SIZES:
        for name, make in MODELS.items():

            def accuracy(rate: float, seed: int, held_out: bool, n: int = n, make: Any = make) -> float:
                places = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))
                unseen = everything[places[n:]], digits.train_labels[places[n:]]
                few = everything[places[:n]], digits.train_labels[places[:n]]
                return trained(make, *few, *(unseen if held_out else test), rate, seed)

            rows.append({"images": n, "model": name, **tuned(RATES, TUNING_SEED, SEEDS, accuracy)})
    keep(
        "small_data",
        "accuracy on the 360 test digits after training on few, of a small CNN and of the ViT of preset digits",
        steps=STEPS,
        batch_size=BATCH,
        rates_tried=RATES,
        parameters={name: sum(p.numel() for p in make().parameters()) for name, make in MODELS.items()},
        rows=rows,
        cpu_seconds=cpu_seconds(),
    )


def trained(
    make: Callable[[], nn.Module], images: Tensor, labels: Tensor, test_images: Tensor, test_labels: Tensor,
    rate: float, seed: int,
) -> float:  # fmt: skip
    """The accuracy of a fresh model after so many steps."""
    torch.manual_seed(seed)
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: vit.warmup_cosine(step + 1, STEPS // 10, STEPS + 1)
    )
    done = 0
    while done < STEPS:
        for index in torch.randperm(len(images)).split(BATCH)[: STEPS - done]:
            vit.train_step(model, images[index], labels[index], optimizer)
            schedule.step()
            done += 1
    return round(float(vit.evaluate(model, test_images, test_labels, 500)), 4)


if __name__ == "__main__":
    main()
