"""`vitcourse explore`: a trained model as one page that computes with it.

The page is made of the parts in book/explorables, the model's weights, and some images of its test set.
"""

import base64
import re
import webbrowser
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import one_hot

from vitcourse.book import parts
from vitcourse.codesets import load_code
from vitcourse.data import Dataset, load_dataset
from vitcourse.errors import RequestError
from vitcourse.files import write_file
from vitcourse.places import root
from vitcourse.training.augment import center_crop
from vitcourse.training.chapters import faults_in_one_line
from vitcourse.training.runs import Result, RunFolder
from vitcourse.training.trained import Trained, load_trained

MOST_PARAMETERS = 8_000_000
N_TESTS, MOST_BYTES = 40, 400_000  # test images in a page, and the bytes of all of them
NAMES = {"digits": "scikit-learn's digits", "mnist": "MNIST", "cifar10": "CIFAR-10", "random": "noise"}
SAME = 1e-3  # two ways to compute a right model differ by less


def explore(run: Path, output: Path | None, open_it: bool, console: Console) -> None:
    """Write the page of a run's folder, or of its weights file, and say where it is.

    Raises RequestError when there are no weights, or the model is too large for a page.
    """
    trained = load_trained(run)
    n_parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    if n_parameters > MOST_PARAMETERS:
        raise RequestError(
            f"a model of {n_parameters:,} parameters is too large for a page, which holds {MOST_PARAMETERS:,}; "
            "type vitcourse explore with the run of a smaller one"
        )
    folder = run if run.is_dir() else run.parent
    file = output or folder / "explore.html"
    try:
        dataset = load_dataset(trained.config.data, trained.config.image_size)
    except RequestError as error:
        dataset = None
        console.print(f"the page has no test images: {error}", soft_wrap=True)
    with faults_in_one_line(load_code(trained.config.code)):
        about = spec(trained, dataset)
        gap = _gap(trained, load_trained(run, "solutions"))
    text = page(about, folder.resolve().name, RunFolder(folder).result)
    write_file(file, text)
    size = f"{len(text.encode()) / 1e3:,.0f} kB"
    console.print(f"wrote {file} ({size}): open it in a browser; it needs no network", soft_wrap=True)
    if gap > SAME:
        console.print(
            f"the page computes as the course's model does; yours answers otherwise, by up to {gap:.2g} in a logit; "
            "to find out why, type vitcourse check",
            soft_wrap=True,
        )
    if open_it:
        webbrowser.open(file.resolve().as_uri())


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
        "how": f"{'A digit’s key, on the pad, writes that digit. ' if drawn else ''}Pictures can be dropped or pasted.",
        "try": "<li>Draw a 7. Make it a 2, stroke by stroke. When does the answer turn?</li>" if drawn else "",
        **{name: str(sizes[name]) for name in ("T", "D", "L", "h")},
        "N": str(sizes["T"] - 1),
        "style": (parts.folder() / "explore.css").read_text(encoding="utf-8"),
        "script": f"{parts.script('explore')}\nexplore(document.body, {parts.as_script(about)});",
    }
    template = (parts.folder() / "explore.html").read_text(encoding="utf-8")
    # In one pass: what stands in a word is never taken for a place.
    return re.sub(r"\{(\w+)\}", lambda place: words[place[1]], template)


def spec(trained: Trained, dataset: Dataset | None) -> dict[str, Any]:
    """A model and some test images, as the page's script reads them."""
    state = {name: value.detach().float().flatten() for name, value in trained.model.state_dict().items()}
    tensors, offset = {}, 0
    for name, value in state.items():
        tensors[name] = (offset, len(value))
        offset += len(value)
    return {
        "sizes": sizes(trained),
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "data": trained.config.data,
        "source": source(trained),
        "classes": trained.classes,
        "mean": trained.mean.tolist(),
        "std": trained.std.tolist(),
        "eps": _eps(trained),
        "tensors": tensors,
        "weights": _base64(torch.cat(list(state.values())).numpy().astype("<f4")),
        "tests": tests(trained, dataset) if dataset else {"levels": 1, "pixels": "", "labels": [], "logits": []},
    }


def _eps(trained: Trained) -> dict[str, float]:
    norms = ["norm", *(f"blocks.{n}.norm{k}" for n in range(trained.config.n_layers) for k in (1, 2))]
    return {name: getattr(trained.model.get_submodule(name), "eps", 1e-6) for name in norms}


def sizes(trained: Trained) -> dict[str, int]:
    """The model's sizes by the course's symbols."""
    config, (height, width), patch_size = trained.config, trained.image_size, trained.config.patch_size
    gh, gw = height // patch_size, width // patch_size
    return {
        "C": trained.channels,
        "H": height,
        "W": width,
        "P": patch_size,
        "gh": gh,
        "gw": gw,
        "T": 1 + gh * gw,
        "D": config.d_model,
        "h": config.n_heads,
        "dh": config.d_model // config.n_heads,
        "L": config.n_layers,
        "K": len(trained.classes),
    }


def source(trained: Trained) -> dict[str, Any]:
    """How the images that the model learned from were made, so that one's own can be made alike."""
    config, crop = trained.config, trained.config.crop
    if config.data == "digits":
        # Each number of these 8×8 images counts the ink in a block of 4×4 pixels.
        mean = trained.mean if config.standardise else load_dataset("digits").mean
        ink = float(mean[0])
        return {"kind": "counted", "size": 8, "block": 4, "ink": ink, "resize": config.image_size, "crop": crop}
    if config.data == "mnist":
        return {"kind": "centred", "size": 28, "resize": config.image_size, "crop": crop}
    return {"kind": "picture", "size": trained.dataset_size[0], "resize": None, "crop": crop}


def tests(trained: Trained, dataset: Dataset) -> dict[str, Any]:
    """Test images of every class, with mistakes among them: pixels, labels, and the logits that PyTorch computes."""
    # The value that was made 1: in scikit-learn's digits a block full of ink.
    levels = 16 if trained.config.data == "digits" and trained.config.image_size is None else 255
    images = center_crop(dataset.test_images, trained.config.crop)
    n_tests = max(1, min(N_TESTS, MOST_BYTES // images[0].numel()))
    # The page has them in whole levels, as most data do; the logits are those of what the page has.
    pixels = (images * levels).round()
    logits = trained.logits(pixels / levels)
    chosen = _chosen(logits, dataset.test_labels, n_tests)
    return {
        "levels": levels,
        "pixels": _base64(pixels[chosen].numpy().astype("u1")),
        "labels": dataset.test_labels[chosen].tolist(),
        "logits": logits[chosen].tolist(),
    }


def _gap(trained: Trained, reference: Trained) -> float:
    """By how much the logits of a model differ from those of the course's own with the same weights."""
    for name, eps in _eps(trained).items():  # a norm may have another one, and be right
        norm: Any = reference.model.get_submodule(name)
        norm.eps = eps
    images = torch.rand(64, trained.channels, *trained.image_size, generator=torch.Generator().manual_seed(0))
    return float((trained.logits(images) - reference.logits(images)).abs().max())


def _chosen(logits: Tensor, labels: Tensor, n: int) -> list[int]:
    """Up to n images, class by class: up to a quarter are mistakes, the surest first; the rest are spread evenly."""
    sure, guesses = logits.softmax(dim=1).max(dim=1)
    wrong = [i for i in sure.argsort(descending=True).tolist() if guesses[i] != labels[i]][: n // 4]
    right = (guesses == labels).nonzero().flatten()
    so_far = one_hot(labels[right], logits.shape[1]).cumsum(0)  # of each class, up to each image
    turns = so_far.gather(1, labels[right][:, None])[:, 0]
    others = right[turns.argsort(stable=True)][: n - len(wrong)].tolist()
    return sorted([*wrong, *others], key=lambda i: (int(labels[i]), i))


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
