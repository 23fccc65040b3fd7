"""A trained model as one file, and as one object: it takes images as they come and says what they are.

The file holds the weights, and with them all that is needed to build the model again and to feed it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vitcourse.codesets import load_code
from vitcourse.data import resized
from vitcourse.errors import RequestError, misfit
from vitcourse.files import parse_json
from vitcourse.images import Pixels, as_image, as_pixels, fitted, read_pixels
from vitcourse.ink import Framing, find_ink
from vitcourse.training.augment import center_crop
from vitcourse.training.batches import EVALUATION_BATCH, standardised
from vitcourse.training.chapters import TRAINER, faults_in_one_line
from vitcourse.training.presets import TrainConfig
from vitcourse.training.runs import weights_in

if TYPE_CHECKING:
    from vitcourse.training.preparation import Setup


@dataclass(frozen=True)
class Seen:
    """A picture as the model sees it, (C, H, W) from 0 to 1, not yet standardised; what was done to it, in words."""

    pixels: Tensor = field(repr=False)
    done: tuple[str, ...] = ()
    inverted: bool = False


@dataclass(frozen=True)
class Prediction:
    """What a picture is taken for: the class, the probability of every class, and the picture as the model saw it."""

    label: str
    probabilities: dict[str, float]
    seen: Seen = field(repr=False)

    def best(self) -> list[tuple[str, float]]:
        """The three most probable classes, the surest first."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:3]


@dataclass(frozen=True)
class Trained:
    """A trained model in evaluation mode, with what was done to its training images.

    Those were dataset_size (H, W), of which the middle image_size was read, less mean, divided by std; its
    answers index classes. framing is what they had in common: a light figure on dark, say, that fills so much of it.
    resized_from is the size that all of them had before, if they were resized.
    """

    model: nn.Module
    config: TrainConfig
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    dataset_size: tuple[int, int]
    image_size: tuple[int, int]
    framing: Framing
    resized_from: tuple[int, int] | None

    @property
    def channels(self) -> int:
        """C of the images that it reads."""
        return len(self.mean)

    def see(self, image: Any) -> Seen:
        """A picture as the model sees it: a path, a Pillow image, an array or a tensor, of any size.

        One that has the training images' size already is taken as they were. Any other is framed as they are: cut to
        its ink where these are ink on a plain ground, else resized, its middle cut out. It is inverted when its
        ground is light and theirs is dark, or the other way round. Raises RequestError for what can't be read.
        """
        # Of a photograph, decode what is needed: where ink is to be found, more than will be seen.
        pixels, done = read_pixels(image, None if self.framing.fill else 2 * max(self.dataset_size)), []
        if self.channels == 1 and len(pixels) == 3:
            pixels = as_pixels(as_image(pixels).convert("L"))
            done.append("made grey")
        if pixels.shape[1:] == self.resized_from:
            pixels = resized(torch.from_numpy(pixels)[None], self.dataset_size[0])[0].numpy()
            done.append("resized to {}×{} pixels, as in training".format(*self.dataset_size))
        inked = None if pixels.shape[1:] == self.dataset_size else self._inked(pixels)
        if inked is not None:
            pixels, inverted = inked
            share = f"{self.framing.fill:.0%}"
            done.append(
                "cut to its ink, which fills {} of {}×{} pixels, as in training".format(share, *self.dataset_size)
            )
        else:
            if pixels.shape[1:] != self.dataset_size:
                pixels = as_pixels(fitted(as_image(pixels), self.dataset_size))
                missed = "no figure found on its ground; " if self.framing.fill else ""
                done.append("{}resized to {}×{} pixels".format(missed, *self.dataset_size))
            inverted = self.framing.is_turned(pixels)
            pixels = 1 - pixels if inverted else pixels
        if self.config.crop is not None:
            done.append("its middle {}×{} pixels taken, as in training".format(*self.image_size))
        of_all_channels = torch.from_numpy(np.ascontiguousarray(pixels)).expand(self.channels, -1, -1)
        cropped = center_crop(of_all_channels[None], self.config.crop)[0]
        return Seen(cropped, tuple(["inverted"] * inverted + done), inverted)

    def _inked(self, pixels: Pixels) -> tuple[Pixels, bool] | None:
        """The picture's ink, framed as the training images were, and whether that inverts it; None without ink."""
        framing = self.framing
        if framing.fill is None:
            return None
        ink = find_ink(pixels[0])
        if ink is None:
            return None
        strength = ink.framed(framing, self.dataset_size)[None]
        # Dark ink becomes light where training's ground was dark.
        return strength if framing.on_dark else 1 - strength, ink.dark == framing.on_dark

    def as_input(self, *seen: Seen) -> Tensor:
        """Pictures as a batch (B, C, H, W) that goes into the model: standardised, on its device."""
        return self._standardised(torch.stack([picture.pixels for picture in seen]))

    def _standardised(self, images: Tensor) -> Tensor:
        return standardised(images, self.mean, self.std).to(next(self.model.parameters()).device)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """What the model says of images as it sees them, from 0 to 1: (n, C, H, W) -> (n, K), on the CPU."""
        parts = map(self._standardised, torch.split(images, EVALUATION_BATCH))
        return torch.cat([self.model.eval()(part).float().cpu() for part in parts])

    def predict(self, image: Any) -> Any:
        """What a picture shows, as a Prediction; of a list of pictures, or of a batch (B, C, H, W), a list of them.

        A tensor (1, C, H, W) is one picture.
        """
        if isinstance(image, list | tuple) or (getattr(image, "ndim", 0) == 4 and len(image) != 1):
            return self.predict_seen([self.see(one) for one in image])
        return self.predict_seen([self.see(image)])[0]

    def predict_seen(self, seen: Sequence[Seen]) -> list[Prediction]:
        """What pictures show, as the model sees them."""
        predictions: list[Prediction] = []
        logits = self.logits(torch.stack([picture.pixels for picture in seen])) if seen else torch.empty(0, 0)
        for picture, of_classes in zip(seen, logits.double().softmax(dim=-1).tolist(), strict=True):
            by_name = dict(zip(self.classes, of_classes, strict=True))
            predictions.append(Prediction(max(by_name, key=by_name.__getitem__), by_name, picture))
        return predictions


def weights_file(model: nn.Module, setup: "Setup") -> bytes:
    """The content of a weights file."""
    dataset = setup.dataset
    framing = Framing.of(dataset.train_images)
    if dataset.name.startswith("folder:"):
        # A folder's images were pictures as they came, resized and cut; so is any other then.
        framing = replace(framing, fill=None)
    about = {
        "model": setup.model_arguments,
        "config": asdict(setup.config),
        "classes": dataset.classes,
        "mean": setup.mean.tolist(),
        "std": setup.std.tolist(),
        "dataset_size": dataset.image_size,
        "framing": asdict(framing),
        "resized_from": dataset.resized_from,
    }
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    # One entry: safetensors writes several in a random order, and equal runs should leave equal files.
    return save(tensors, {"vitcourse": json.dumps(about)})


def load_trained(path: str | Path, code: str | None = None) -> Trained:
    """The model of a run's folder, or of its weights file, on the CPU; with another set of code if one is named.

    Raises RequestError when there are no such weights, or when they don't fit the code's model.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = weights_in(file)
    if not file.is_file():
        raise RequestError(f"there are no weights at {file}")
    try:
        about, tensors = _about(file), load_file(file)
        config = TrainConfig(**about["config"])
        arguments, classes, mean, std = (about[key] for key in ("model", "classes", "mean", "std"))
        sizes, framing = (tuple(about["dataset_size"]), tuple(arguments["image_size"])), Framing(**about["framing"])
        resized_from = tuple(about["resized_from"]) if about.get("resized_from") else None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{file} is not a weights file that this version of the course wrote") from error
    found = load_code(code or config.code)
    with faults_in_one_line(found):
        model = found.module(TRAINER).VisionTransformer(**arguments)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RequestError(f"the weights in {file} don't fit the model of {found.name}: {misfit(error)}") from error
    mean, std = torch.tensor(mean), torch.tensor(std)
    return Trained(model.eval(), config, tuple(classes), mean, std, *sizes, framing, resized_from)


def made_with(file: Path) -> dict[str, Any] | None:
    """The arguments with which the model of a run's weights file was made; None for a file of another kind."""
    try:
        arguments: dict[str, Any] = _about(file)["model"]
        return arguments
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _about(file: Path) -> dict[str, Any]:
    with safe_open(file, framework="pt") as opened:
        about: dict[str, Any] = parse_json((opened.metadata() or {})["vitcourse"])
        return about
