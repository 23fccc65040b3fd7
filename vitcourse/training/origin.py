"""What a run may start from in place of chance: the weights of another run, or published ones of any family."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from vitcourse.data import Dataset
from vitcourse.errors import RequestError, in_one_line
from vitcourse.training.presets import TrainConfig, option, spoken
from vitcourse.training.runs import weights_in
from vitcourse.training.trained import made_with
from vitcourse.weights import FILES, load_weights, sizes_of

# What the weights decide, and no preset.
SIZES = ("patch_size", "d_model", "n_layers", "n_heads", "mlp_ratio")
HEAD_WIDTH = 64  # of the published models, from the smallest to ViT-L


@dataclass(frozen=True)
class Origin:
    """Trained weights, under this course's names, the patch grid of their positions, and whether heads are told."""

    state: Mapping[str, Tensor] = field(repr=False)
    grid: tuple[int, int]
    tells_heads: bool = True


def with_sizes_of_weights(config: TrainConfig, typed: Mapping[str, Any]) -> TrainConfig:
    """The configuration with the sizes of the weights that it starts from, in place of the preset's.

    Raises RequestError when there are no such weights, or when a size was typed that isn't theirs.
    """
    _, found, arguments = _read(config)
    if missing := [name for name in SIZES if name not in found and name != "n_heads"]:
        raise RequestError(
            f"the weights in {config.init} are no whole Vision Transformer: they don't show {missing[0]}"
        )
    if found["mlp_ratio"] % 1:
        raise RequestError(
            f"the weights in {config.init} have an MLP {found['mlp_ratio']:.2f} times as wide as a token: "
            "the model of this course has a whole number there"
        )
    theirs: dict[str, Any] = {name: int(found[name]) for name in SIZES if name in found}
    if arguments is None:
        # No published file but Google's own shows its heads.
        theirs.setdefault("n_heads", typed.get("n_heads") or max(1, theirs["d_model"] // HEAD_WIDTH))
        theirs["positions"] = "learned"
    else:
        theirs |= {name: arguments[name] for name in ("n_heads", "positions")}
    for name in theirs.keys() & typed.keys():
        if typed[name] != theirs[name]:
            raise RequestError(
                f"{option(name)} {spoken(typed[name])} doesn't fit the weights in {config.init}, whose model has "
                f"{spoken(theirs[name])}; leave {option(name)} out"
            )
    return replace(config, **theirs)


def read_origin(config: TrainConfig, chapter: ModuleType, dataset: Dataset) -> Origin:
    """The weights that a run starts from. Raises RequestError for what can't be read or doesn't fit."""
    file, sizes, arguments = _read(config)
    if sizes.get("in_channels", dataset.channels) != dataset.channels:
        raise RequestError(
            f"the weights in {config.init} read images of {sizes['in_channels']:g} channels, and those of "
            f"{dataset.name} have {dataset.channels}; type --data with others"
        )
    n_patches = int(sizes.get("n_patches", 0))
    height, width = arguments["image_size"] if arguments else (math.isqrt(n_patches) * config.patch_size,) * 2
    grid = (height // config.patch_size, width // config.patch_size)
    if math.prod(grid) != n_patches:
        raise RequestError(f"the weights in {config.init} have positions for {n_patches} patches, which are no square")
    model = chapter.VisionTransformer(
        image_size=(grid[0] * config.patch_size, grid[1] * config.patch_size),
        in_channels=dataset.channels,
        n_classes=len(dataset.classes),
        positions="learned",  # whatever they were, they come with the weights
        **{name: getattr(config, name) for name in SIZES},
    )
    model.grid = grid
    try:
        load_weights(model, file, head="own")
    except ValueError as error:
        raise RequestError(f"--init: {in_one_line(error)}") from error
    return Origin(model.state_dict(), grid, arguments is not None or "n_heads" in sizes)


def _read(config: TrainConfig) -> tuple[Path, dict[str, float], dict[str, Any] | None]:
    """The file of the weights, the sizes that they show, and of a run's the arguments that its model was made with."""
    path = Path(config.init or "").expanduser()
    if path.is_dir() and not any((path / name).is_file() for name in FILES):
        path = weights_in(path)  # it says why there are none
    file = next((path / name for name in FILES if (path / name).is_file()), path)
    try:
        return file, sizes_of(file), made_with(file)
    except ValueError as error:
        raise RequestError(f"--init: {in_one_line(error)}") from error
