"""A trained model as one page that computes with it: what `vitcourse explore` writes.

The page is made of the parts in book/explorables, the model's weights, and some images of its test set.
"""

import base64
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor
from vitcourse.book import parts
from vitcourse.codesets import root
from vitcourse.data import Dataset, load_dataset
from vitcourse.errors import RequestError
from vitcourse.training.augment import center_crop
from vitcourse.training.batches import standardised
from vitcourse.training.runs import Result, RunFolder
from vitcourse.training.trained import Trained, load_trained

MOST_PARAMETERS = 8_000_000
N_TESTS, MOST_BYTES = 40, 400_000  # test images in a page, and the bytes of all of them
LEVELS = {"digits": 16}  # the value that was made 1; 255 elsewhere
NAMES = {"digits": "scikit-learn's digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}


def make_page(path: Path) -> str:
    """The page of a run's folder, or of its weights file.

    Raises RequestError when there are no weights, when the model is too large for a page, or its data aren't there.
    """
    trained = load_trained(path)
    n_parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    if n_parameters > MOST_PARAMETERS:
        raise RequestError(
            f"a model of {n_parameters:,} parameters is too large for a page, which holds {MOST_PARAMETERS:,}; "
            "type vitcourse explore with the run of a smaller one"
        )
    folder = path if path.is_dir() else path.parent
    dataset = load_dataset(trained.config.data, trained.config.image_size)
    return page(spec(trained, dataset), folder.resolve().name, RunFolder(folder).result)


def page(about: dict[str, Any], title: str, result: Result | None = None) -> str:
    """The page of what spec tells, as text: one file, which asks for no other."""
    sizes, data, drawn = about["sizes"], about["data"], about["source"]["kind"] != "picture"
    learned = f"It learned from {NAMES.get(data, 'your images')}"
    if result is not None:
        learned += f", and gets {result.accuracy:.2%} of {result.n_measured:,} {result.measured_on} right"
    words = {
        "title": escape(title),
        "icon": quote((root() / "book" / "assets" / "icon.svg").read_text(encoding="utf-8")),
        "facts": escape(f"{learned}. {about['parameters']:,} numbers decide. All of them are in this page."),
        "ask": "Draw a digit" if drawn else "Choose a picture",
        "try": "<li>Draw a 7. Make it a 2, stroke by stroke. When does the answer turn?</li>" if drawn else "",
        "n": str(sizes["T"] - 1),
        "t": str(sizes["T"]),
        "l": str(sizes["L"]),
        "h": str(sizes["h"]),
        "style": (parts.folder() / "explore.css").read_text(encoding="utf-8"),
        "script": f"{parts.script('explore')}\nexplore(document.body, {parts.as_script(about)});",
    }
    template = (parts.folder() / "explore.html").read_text(encoding="utf-8")
    # In one pass: what stands in a word is never taken for a place.
    return re.sub(r"\{(\w+)\}", lambda place: words[place[1]], template)


def spec(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """A model and some test images, as the page's script reads them. Raises RequestError for another kind of model."""
    state = {name: value.detach().float().flatten() for name, value in trained.model.state_dict().items()}
    tensors, offset = {}, 0
    for name, value in state.items():
        tensors[name] = (offset, len(value))
        offset += len(value)
    norms = ["norm", *(f"blocks.{n}.norm{k}" for n in range(trained.config.n_layers) for k in (1, 2))]
    return {
        "sizes": sizes(trained, dataset),
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "data": trained.config.data,
        "source": source(trained, dataset),
        "classes": trained.classes,
        "mean": trained.mean.tolist(),
        "std": trained.std.tolist(),
        "eps": {name: getattr(trained.model.get_submodule(name), "eps", 1e-6) for name in norms},
        "tensors": tensors,
        "weights": _base64(torch.cat(list(state.values())).numpy().astype("<f4")),
        "tests": tests(trained, dataset),
    }


def sizes(trained: Trained, dataset: Dataset) -> dict[str, int]:
    """The model's sizes by the course's symbols."""
    config = trained.config
    height, width = (config.crop, config.crop) if config.crop else dataset.image_size
    rows, columns = height // config.patch_size, width // config.patch_size
    return {
        "C": dataset.channels,
        "H": height,
        "W": width,
        "P": config.patch_size,
        "gh": rows,
        "gw": columns,
        "T": 1 + rows * columns,
        "D": config.d_model,
        "h": config.n_heads,
        "dh": config.d_model // config.n_heads,
        "L": config.n_layers,
        "K": len(trained.classes),
    }


def source(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """How the images that the model learned from were made, so that one's own can be made alike."""
    config = trained.config
    after = {"resize": config.image_size, "crop": config.crop}
    if config.data == "digits":
        # Each number of these 8×8 images counts the ink in a block of 4×4 pixels.
        return {"kind": "counted", "size": 8, "block": 4, "ink": float(dataset.train_images.mean()), **after}
    if config.data == "mnist":
        return {"kind": "centred", "size": 28, **after}
    return {"kind": "picture", "size": dataset.image_size[0], "resize": None, "crop": config.crop}


def tests(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """Test images of every class, with mistakes among them: pixels, labels, and the logits that PyTorch computes."""
    levels = LEVELS.get(trained.config.data, 255)
    images = center_crop(dataset.test_images, trained.config.crop)
    n_tests = max(1, min(N_TESTS, MOST_BYTES // images[0].numel()))
    # The page has them in whole levels, as most data do; the logits are those of what the page has.
    pixels = (images * levels).round()
    logits = torch.cat([_logits(trained, batch / levels) for batch in pixels.split(500)])
    chosen = _chosen(logits, dataset.test_labels, n_tests)
    return {
        "levels": levels,
        "pixels": _base64(pixels[chosen].numpy().astype("u1")),
        "labels": dataset.test_labels[chosen].tolist(),
        "logits": logits[chosen].tolist(),
    }


@torch.no_grad()
def _logits(trained: Trained, images: Tensor) -> Tensor:
    logits: Tensor = trained.model(standardised(images, trained.mean, trained.std))
    return logits.float()


def _chosen(logits: Tensor, labels: Tensor, n: int) -> list[int]:
    """Up to n images, class by class: up to a quarter are mistakes, the surest first; the rest are spread evenly."""
    guesses = logits.argmax(dim=1)
    sure = logits.softmax(dim=1).amax(dim=1)
    wrong = [i for i in sure.argsort(descending=True).tolist() if guesses[i] != labels[i]][: n // 4]
    turns: dict[int, int] = {}
    right = []
    for i in (guesses == labels).nonzero().flatten().tolist():
        label = int(labels[i])
        turns[label] = turns.get(label, 0) + 1
        right.append((turns[label], i))
    return sorted([*wrong, *(i for _, i in sorted(right)[: n - len(wrong)])], key=lambda i: (int(labels[i]), i))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
