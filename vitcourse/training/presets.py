"""The hyper-parameters of a training run, and the recipes that set them all.

Each hyper-parameter stands here once: its name, its type, its line of help, the values that it may take. The command
line makes an option of every one.
"""

from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any


def _setting(
    help: str, default: Any = MISSING, *, choices: tuple[str, ...] = (), also: tuple[str, ...] = (), **bounds: float
) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "also": also, "bounds": bounds})


# What a run may train on: both, one after the other, is a choice too.
LOSSES = ("cross-entropy", "original")
# More than any machine has processors. Of a hundred thousand, torch crashes without a word.
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides how a run goes. What has no default here is set by every preset."""

    preset: str

    data: str = _setting("what to train on: digits, mnist, cifar10, random (noise, to measure speed) or folder:PATH")
    image_size: int | None = _setting("resize the images to this many pixels a side", None, least=1)
    held_out: int = _setting(
        "leave the test set unseen: hold the last N training images out and report on them; 0 is off", 0, least=0
    )
    standardise: bool = _setting("subtract the training images' mean, divide by their deviation", True)
    crop: int | None = _setting("cut this many pixels a side out of the middle of the images", None, least=1)
    flip: bool = _setting("mirror half of the training images, left to right", False)
    shift: float = _setting("move each training image at random, by up to this many pixels each way", 0.0, least=0)
    rotate: float = _setting("turn each training image at random, by up to this many degrees", 0.0, least=0, most=180)
    stretch: float = _setting(
        "stretch or shrink each training image at random, each axis by up to this share", 0.0, least=0, most=1
    )
    shear: float = _setting("slant each training image at random, by up to this share", 0.0, least=0, most=1)
    elastic: float = _setting(
        "bend each training image at random: knots six pixels apart move by so many pixels, as a standard deviation",
        0.0,
        least=0,
    )
    mixup: float = _setting(
        "mix each training image with another, in shares drawn from Beta(alpha, alpha): this is alpha; 0 is off",
        0.0,
        least=0,
        most=1,
    )

    patch_size: int = _setting("pixels along a patch, P", least=1)
    d_model: int = _setting("width of a token, D", least=1)
    n_layers: int = _setting("encoder blocks, L", least=1)
    n_heads: int = _setting("attention heads, h", least=1)
    mlp_ratio: int = _setting("width of the MLP's hidden layer, in units of D", least=1)
    positions: str = _setting("positional encoding", "sinusoidal", choices=("sinusoidal", "learned"))
    dropout: float = _setting("share of the activations dropped while training", 0.0, least=0, below=1)
    init: str | None = _setting(
        "start from trained weights: a run, or a file of any family (torchvision, timm, Hugging Face, Google); the "
        "model's sizes are then theirs, its head starts at 0",
        None,
    )

    loss: str = _setting(
        "original has the original project's bug, a softmax in front of the loss; both trains with and without it",
        "cross-entropy",
        choices=(*LOSSES, "both"),
    )
    optimizer: str = _setting(
        "optimiser; muon trains the weight matrices of the blocks with Muon and the rest with AdamW",
        choices=("adam", "adamw", "muon"),
    )
    learning_rate: float = _setting("learning rate, at its peak", also=("--lr",), above=0)
    muon_learning_rate: float = _setting("the same of what Muon trains, where Muon is the optimiser", 0.01, above=0)
    muon_momentum: float = _setting("decay of Muon's mean of the gradients", 0.95, least=0, below=1)
    beta1: float = _setting("decay of the optimiser's mean of the gradients", 0.9, least=0, below=1)
    beta2: float = _setting("decay of the optimiser's mean of their squares", 0.999, least=0, below=1)
    weight_decay: float = _setting(
        "decay of the weights of linear layers and convolutions, but for those that Muon trains", 0.0, least=0
    )
    layer_decay: float = _setting(
        "factor on the learning rate for each layer down from the head, for adam and adamw; 1 is off",
        1.0,
        above=0,
        most=1,
    )
    schedule: str = _setting("course of the learning rate", choices=("constant", "cosine", "trapezoid"))
    warmup: float = _setting(
        "share of the steps in which a cosine or a trapezoid rises to its peak", 0.0, least=0, below=1
    )
    cooldown: float = _setting("share of the steps in which a trapezoid falls to 0, in a line", 0.35, least=0, most=1)
    clip: float = _setting("longest gradient, all parameters together; 0 is off", 0.0, least=0)
    batch_size: int = _setting("images in a step, B", least=1)
    micro_batch: int = _setting(
        "images at once in a step, whose gradients add up to the batch's, where memory is short; 0 is off", 0, least=0
    )
    epochs: int = _setting("how often each training image is seen", least=1)
    hardest: float = _setting(
        "once all images were seen, go through this share of them alone, those with the largest loss by then, again "
        "and again; 1 is off",
        1.0,
        above=0,
        most=1,
    )
    ema: float = _setting(
        "decay of a moving average of the weights, measured and kept in their place; 0 is off", 0.0, least=0, below=1
    )

    amp: str = _setting("precision of the forward pass", "off", choices=("off", "bf16"))
    compile: str = _setting(
        "compile the model with torch.compile; auto does so where the run is long enough to earn it; reduce-overhead "
        "adds CUDA graphs on a GPU",
        "auto",
        choices=("auto", "off", "default", "reduce-overhead"),
    )
    graph: bool = _setting(
        "record the whole step, from the batch to the update, as one CUDA graph, where there is one GPU", False
    )
    kernels: str = _setting(
        "own computes as the model's lines say; fused by torch's kernels, and the last block for CLS alone, where that "
        "gives the same (dropout then draws other numbers); auto does so unless it is slower",
        "auto",
        choices=("auto", "own", "fused"),
    )
    pipeline: str = _setting(
        "how batches are made: on the device, for a whole batch at once, or as a DataLoader does, image by image",
        "device",
        choices=("device", "loader"),
    )
    fused: bool = _setting("update all parameters in one call, where the optimiser can", True)
    sync: bool = _setting("read the loss after every step, and so wait for the device", False)
    threads: int = _setting("threads on the CPU; 0 leaves it to torch", 0, least=0, most=MOST_THREADS)
    seed: int = _setting("seed of the weights, the order of the images and their shifts", 0, least=0, most=2**63 - 1)
    code: str = _setting("whose model: solutions, chapters (your own), or a folder's path", "solutions")
    device: str = _setting("where to train", "auto", choices=("auto", "cpu", "cuda", "mps"))


# What another machine may do otherwise when it goes on with a run. On the same device these change no more than the
# last digits.
MAY_DIFFER = ("device", "threads", "compile", "graph", "kernels", "pipeline", "fused", "sync")

# Models as small as these gain nothing by a second thread; it only costs.
DIGITS = TrainConfig(
    preset="digits",
    data="digits",
    shift=0.4,
    rotate=8.0,
    stretch=0.08,
    shear=0.1,
    patch_size=4,
    d_model=64,
    n_layers=3,
    n_heads=4,
    mlp_ratio=2,
    optimizer="adamw",
    learning_rate=3e-3,
    beta2=0.99,
    weight_decay=0.1,
    schedule="cosine",
    warmup=0.1,
    batch_size=64,
    epochs=30,
    threads=1,
)
# What the recipes for MNIST share, but for the original's: such models, trained by Muon on images that are turned.
MNIST = replace(
    DIGITS,
    preset="mnist",
    data="mnist",
    crop=24,
    shift=1,
    rotate=10.0,
    stretch=0.1,
    patch_size=8,
    optimizer="muon",
    learning_rate=4e-3,
    weight_decay=0.05,
    warmup=0.06,
    clip=1.0,
    batch_size=100,
    epochs=7,
)
# What a GPU is good at: more steps than a CPU has the time for, started as one.
MNIST_GPU = replace(MNIST, patch_size=4, n_layers=4, schedule="trapezoid", compile="default", graph=True, threads=0)

PRESETS = {
    "digits": DIGITS,
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
    "mnist": MNIST,
    # As good in half of the time: narrower, with larger batches, most of them of images that are not learned yet.
    "mnist-fast": replace(
        MNIST,
        preset="mnist-fast",
        rotate=8.0,
        stretch=0.08,
        shear=0.08,
        d_model=56,
        muon_learning_rate=0.011,
        muon_momentum=0.9,
        schedule="trapezoid",
        warmup=0.05,
        cooldown=0.7,
        clip=0.0,
        batch_size=220,
        hardest=0.33,
        epochs=5,
    ),
    # The most accurate small model that was found. A GPU hardly feels batches this small; what counts there is how the
    # steps are started: bf16 adds a third more kernels.
    "mnist-gpu": replace(
        MNIST_GPU,
        preset="mnist-gpu",
        shift=2,
        rotate=12.0,
        stretch=0.12,
        shear=0.15,
        elastic=0.6,
        learning_rate=3e-3,
        muon_learning_rate=0.007,
        warmup=0.0185,
        cooldown=0.26,
        epochs=54,
        ema=0.999,
    ),
    # The same model in a thirteenth of its steps, for anyone who wants 99% at once. For a GPU.
    "mnist-gpu-fast": replace(
        MNIST_GPU,
        preset="mnist-gpu-fast",
        learning_rate=6e-3,
        muon_learning_rate=0.02,
        warmup=0.05,
        cooldown=0.6,
        batch_size=500,
        epochs=20,
    ),
    # Touvron et al. 2021 (arXiv:2012.12877), table 9, for the optimiser; the model is theirs, tiny, at half its depth.
    "cifar10": TrainConfig(
        preset="cifar10",
        data="cifar10",
        flip=True,
        shift=4,
        patch_size=4,
        d_model=192,
        n_layers=6,
        n_heads=3,
        mlp_ratio=4,
        dropout=0.1,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.05,
        clip=1.0,
        batch_size=500,
        epochs=100,
        amp="bf16",
        compile="default",
        graph=True,
    ),
    # Dosovitskiy et al. 2021, table 1, at its patch size of 16: for throughput, nothing can be learned from noise.
    "vit-b16": TrainConfig(
        preset="vit-b16",
        data="random",
        image_size=224,
        patch_size=16,
        d_model=768,
        n_layers=12,
        n_heads=12,
        mlp_ratio=4,
        positions="learned",
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.1,
        schedule="cosine",
        warmup=0.1,
        clip=1.0,
        batch_size=128,
        epochs=5,
        amp="bf16",
        compile="default",
    ),
}


def settings() -> list[Field[Any]]:
    """The hyper-parameters, in the order in which help lists them."""
    return [setting for setting in fields(TrainConfig) if setting.name != "preset"]


def option(name: str) -> str:
    """A hyper-parameter's name as one types it: --learning-rate for learning_rate."""
    return "--" + name.replace("_", "-")


def as_typed(name: str, value: Any) -> str:
    """A hyper-parameter with its value, as one types it."""
    if isinstance(value, bool):
        return option(name if value else f"no-{name}")
    return f"{option(name)} {spoken(value)}"


def help_line(setting: Field[Any]) -> str:
    """What a hyper-parameter is, the words that it may be, and its value in the presets."""
    words = " or ".join(setting.metadata["choices"])
    by_value: dict[Any, list[str]] = {}
    for name, preset in PRESETS.items():
        by_value.setdefault(getattr(preset, setting.name), []).append(name)
    told = []
    for value, names in by_value.items():
        # What most presets leave as it is goes without their names.
        usual = setting.default is not MISSING and value == setting.default
        if value is not None:
            told.append(("default" if usual or len(by_value) == 1 else ", ".join(names)) + f": {spoken(value)}")
    values = "; ".join(told)
    return f"{setting.metadata['help']}{f'; {words}' if words else ''}{f' [{values}]' if values else ''}"


def spoken(value: Any) -> str:
    """A value as one would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
