"""The hyper-parameters of a training run, and the recipes that set them all.

Each hyper-parameter stands here once: its name, its type, its line of help, the values that it may take. The command
line makes an option of every one.
"""

import math
import operator
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from vitcourse.errors import RequestError

_BOUNDS = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "more than"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "less than"),
}


def _setting(help: str, default: Any = MISSING, *, choices: tuple[str, ...] = (), **bounds: float) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "bounds": bounds})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides how a run goes. What has no default here is set by every preset."""

    preset: str

    data: str = _setting("what to train on: digits, mnist, cifar10 or folder:PATH")
    image_size: int | None = _setting("resize the images to this many pixels a side", None, least=1)
    held_out: int = _setting(
        "leave the test set unseen: hold the last N training images out and report on them; 0 is off", 0, least=0
    )
    standardise: bool = _setting("subtract the training images' mean, divide by their deviation", True)
    crop: int | None = _setting("cut this many pixels a side out of the middle of the images", None, least=1)
    shift: int = _setting("move each training image at random, by up to this many pixels each way", 0, least=0)
    rotate: float = _setting("turn each training image at random, by up to this many degrees", 0.0, least=0, most=180)
    stretch: float = _setting(
        "stretch or shrink each training image at random, each axis by up to this share", 0.0, least=0, most=1
    )
    shear: float = _setting("slant each training image at random, by up to this share", 0.0, least=0, most=1)

    patch_size: int = _setting("pixels along a patch, P", least=1)
    d_model: int = _setting("width of a token, D", least=1)
    n_layers: int = _setting("encoder blocks, L", least=1)
    n_heads: int = _setting("attention heads, h", least=1)
    mlp_ratio: int = _setting("width of the MLP's hidden layer, in units of D", least=1)
    positions: str = _setting("positional encoding", "sinusoidal", choices=("sinusoidal", "learned"))
    dropout: float = _setting("share of the activations dropped while training", 0.0, least=0, below=1)

    loss: str = _setting(
        "original has the original project's bug, a softmax in front of the loss; both trains with and without it",
        "cross-entropy",
        choices=("cross-entropy", "original", "both"),
    )
    optimizer: str = _setting(
        "optimiser; muon trains the weight matrices of the blocks with Muon and the rest with AdamW",
        choices=("adam", "adamw", "muon"),
    )
    learning_rate: float = _setting("learning rate, at its peak", above=0)
    muon_learning_rate: float = _setting("the same of what Muon trains, where Muon is the optimiser", 0.01, above=0)
    beta1: float = _setting("decay of the optimiser's mean of the gradients", 0.9, least=0, below=1)
    beta2: float = _setting("decay of the optimiser's mean of their squares", 0.999, least=0, below=1)
    weight_decay: float = _setting(
        "decay of the weights of linear layers and convolutions, but for those that Muon trains", 0.0, least=0
    )
    schedule: str = _setting("course of the learning rate", choices=("constant", "cosine", "trapezoid"))
    warmup: float = _setting(
        "share of the steps in which a cosine or a trapezoid rises to its peak", 0.0, least=0, below=1
    )
    cooldown: float = _setting("share of the steps in which a trapezoid falls to 0, in a line", 0.35, least=0, most=1)
    clip: float = _setting("longest gradient, all parameters together; 0 is off", 0.0, least=0)
    batch_size: int = _setting("images in a step, B", least=1)
    epochs: int = _setting("how often each training image is seen", least=1)
    ema: float = _setting(
        "decay of a moving average of the weights, measured and kept in their place; 0 is off", 0.0, least=0, below=1
    )

    amp: str = _setting("precision of the forward pass", "off", choices=("off", "bf16"))
    threads: int = _setting("threads on the CPU; 0 leaves it to torch", 0, least=0)
    seed: int = _setting("seed of the weights, the order of the images and their shifts", 0, least=0, most=2**63 - 1)
    code: str = _setting("whose model: solutions, chapters (your own), or a folder's path", "solutions")
    device: str = _setting("where to train", "auto", choices=("auto", "cpu", "cuda", "mps"))


# Models as small as the first two gain nothing by a second thread; it only costs.
PRESETS = {
    "digits": TrainConfig(
        preset="digits",
        data="digits",
        patch_size=4,
        d_model=64,
        n_layers=3,
        n_heads=4,
        mlp_ratio=2,
        dropout=0.1,
        optimizer="adamw",
        learning_rate=3e-3,
        beta2=0.99,
        weight_decay=0.1,
        schedule="cosine",
        warmup=0.1,
        batch_size=64,
        epochs=20,
        threads=1,
    ),
    # The original project's recipe. Its text names no optimiser: Adam is inferred from its numbers.
    "seed": TrainConfig(
        preset="seed",
        data="mnist",
        image_size=32,
        standardise=False,
        patch_size=16,
        d_model=9,
        n_layers=3,
        n_heads=3,
        mlp_ratio=4,
        optimizer="adam",
        learning_rate=0.005,
        schedule="constant",
        batch_size=128,
        epochs=10,
        threads=1,
    ),
    "mnist": TrainConfig(
        preset="mnist",
        data="mnist",
        crop=24,
        shift=1,
        rotate=10.0,
        stretch=0.1,
        shear=0.1,
        patch_size=8,
        d_model=64,
        n_layers=3,
        n_heads=4,
        mlp_ratio=2,
        optimizer="muon",
        learning_rate=4e-3,
        beta2=0.99,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.06,
        clip=1.0,
        batch_size=100,
        epochs=7,
        threads=1,
    ),
}


def settings() -> list[Field[Any]]:
    """The hyper-parameters, in the order in which help lists them."""
    return [setting for setting in fields(TrainConfig) if setting.name != "preset"]


def option(name: str) -> str:
    """A hyper-parameter's name as one types it: --learning-rate for learning_rate."""
    return "--" + name.replace("_", "-")


def help_line(setting: Field[Any]) -> str:
    """What a hyper-parameter is, the words that it may be, and its value in the presets."""
    words = " or ".join(setting.metadata["choices"])
    values = {name: getattr(preset, setting.name) for name, preset in PRESETS.items()}
    if len(set(values.values())) == 1:
        values = {"default": values["digits"]}
    spoken = ", ".join(f"{name}: {_spoken(value)}" for name, value in values.items() if value is not None)
    return f"{setting.metadata['help']}{f'; {words}' if words else ''}{f' [{spoken}]' if spoken else ''}"


def _spoken(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def make_config(preset: str = "digits", **overrides: Any) -> TrainConfig:
    """A preset with some settings changed; None leaves a setting as the preset has it.

    Raises RequestError for a preset, a setting or a value that can't be.
    """
    if preset not in PRESETS:
        raise RequestError(f"there is no preset {preset!r}; {_suggestion(preset, PRESETS)}")
    names = [setting.name for setting in settings()]
    for name in overrides:
        if name not in names:
            raise RequestError(f"there is no setting {name!r}; {_suggestion(name, names)}")
    config = replace(PRESETS[preset], **{name: value for name, value in overrides.items() if value is not None})
    for setting in settings():
        _check(setting, getattr(config, setting.name))
    return config


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"type one of: {', '.join(known)}"


def _check(setting: Field[Any], value: Any) -> None:
    name, choices = option(setting.name), setting.metadata["choices"]
    if choices and value not in choices:
        raise RequestError(f"{name} can't be {value!r}; {_suggestion(str(value), choices)}")
    if setting.type in (int, int | None) and value is not None and type(value) is not int:
        raise RequestError(f"{name} must be a whole number, not {value!r}")
    if setting.type is float and not (type(value) in (int, float) and math.isfinite(value)):
        raise RequestError(f"{name} must be a number, not {value!r}")
    for word, bound in setting.metadata["bounds"].items():
        holds, spoken = _BOUNDS[word]
        if value is not None and not holds(value, bound):
            raise RequestError(f"{name} must be {spoken} {bound}, not {value}")
