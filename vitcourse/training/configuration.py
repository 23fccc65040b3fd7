"""From a request to a run's configuration: a preset with what was typed, checked; or that of a run that goes on."""

import inspect
import math
import operator
from collections.abc import Callable
from dataclasses import Field, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from vitcourse.codesets import load_code
from vitcourse.data import require_data, side_of
from vitcourse.errors import RequestError, suggestion
from vitcourse.files import parse_json
from vitcourse.training.chapters import require_written
from vitcourse.training.presets import MAY_DIFFER, PRESETS, TrainConfig, as_typed, help_line, option, settings

# What a setting of each type may be, and that in words.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "yes or no"),
    str: ((str,), "a word"),
}
_BOUNDS = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "more than"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "less than"),
}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes **overrides one option for each setting; None when it isn't typed.

    Typer reads a function's signature and annotations, and so these are what is extended.
    """
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    extended = signature.replace(parameters=[*own, *(_parameter(setting) for setting in settings())])
    command.__signature__ = extended  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in extended.parameters.items()}
    return command


def _parameter(setting: Any) -> inspect.Parameter:
    name = option(setting.name)
    declaration = f"{name}/--no-{name[2:]}" if setting.type is bool else name
    names = (declaration, *setting.metadata["also"])
    annotation = Annotated[setting.type | None, typer.Option(*names, help=help_line(setting), show_default=False)]
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def make_config(preset: str = "digits", **overrides: Any) -> TrainConfig:
    """A preset with some settings changed; None leaves a setting as the preset has it.

    Raises RequestError for a preset, a setting or a value that can't be.
    """
    if preset not in PRESETS:
        raise RequestError(f"there is no preset {preset!r}; {suggestion(preset, PRESETS)}")
    names = [setting.name for setting in settings()]
    for name in overrides:
        if name not in names:
            raise RequestError(f"there is no setting {name!r}; {suggestion(name, names)}")
    typed = {name: value for name, value in overrides.items() if value is not None}
    config = _checked(replace(PRESETS[preset], **typed))
    if config.init is not None:
        if not Path(config.init).expanduser().exists():
            raise RequestError(
                f"--init: there are no weights at {config.init}; type a run's folder or a file of weights"
            )
        from vitcourse.training.origin import with_sizes_of_weights  # with it comes torch

        config = with_sizes_of_weights(config, typed)
    return config


def require_ready(config: TrainConfig) -> None:
    """Raise RequestError for what is seen to be wrong before torch is loaded, which takes seconds."""
    require_written(load_code(config.code), config)
    require_data(config.data, config.image_size)
    side = side_of(config.data, config.image_size)
    require_sizes_that_fit(config, (side, side))


def require_sizes_that_fit(config: TrainConfig, size: tuple[int, int]) -> None:
    """Raise RequestError where images (H, W) can't be cropped or cut into patches, or heads can't share the width."""
    (height, width), patch_size = size, config.patch_size
    for name in ("crop", "shift", "elastic"):
        pixels, most = getattr(config, name) or 0, min(size)
        if pixels > most:
            raise RequestError(
                f"{option(name)} {pixels:g} is more than the images have: {height}×{width} pixels; type {most} or less"
            )
    if config.crop:
        height = width = config.crop
    side = math.gcd(height, width)
    if side % patch_size and config.init:
        raise RequestError(
            f"images of {height}×{width} pixels can't be cut into the {patch_size}×{patch_size} patches of the weights "
            f"in {config.init}; type --image-size with a multiple of {patch_size}"
        )
    if side % patch_size:
        raise RequestError(
            f"images of {height}×{width} pixels can't be cut into patches of {patch_size}×{patch_size}; "
            f"type --patch-size with one of: {_divisors(side)}"
        )
    if config.d_model % config.n_heads:
        raise RequestError(
            f"a width of --d-model {config.d_model} can't be shared by {config.n_heads} heads; "
            f"type --n-heads with one of: {_divisors(config.d_model)}"
        )


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)


def config_of_run(file: Path, preset: str | None = None, **overrides: Any) -> TrainConfig:
    """The configuration of a run that is to go on, from its config.json; what the machine decides may be overridden.

    Raises RequestError when the file is damaged, or when a preset or a setting is asked for that the run doesn't have.
    """
    try:
        config = TrainConfig(**parse_json(file.read_text(encoding="utf-8")))
        PRESETS[config.preset]  # an older or a newer version may have others
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{file} is not what training wrote; type --output with another folder") from error
    if preset not in (None, config.preset):
        raise RequestError(
            f"{file.parent} is a run of {config.preset}, not of {preset}; type --output with another folder"
        )
    changed = {name: value for name, value in overrides.items() if value is not None}
    for name, value in changed.items():
        if name not in MAY_DIFFER and value != getattr(config, name):
            begun = getattr(config, name)
            with_it = f"has {as_typed(name, begun)}" if begun is not None else f"began without {option(name)}"
            raise RequestError(
                f"the run in {file.parent} {with_it}; leave {option(name)} out to go on with it, or type --output with "
                "another folder to start anew"
            )
    return _checked(replace(config, **changed))


def _checked(config: TrainConfig) -> TrainConfig:
    for setting in settings():
        _check(setting, getattr(config, setting.name))
    if config.layer_decay != 1 and config.optimizer == "muon":
        raise RequestError("--layer-decay is for adam and adamw, and the optimiser is muon; type --optimizer adamw too")
    if config.schedule == "trapezoid" and config.warmup + config.cooldown > 1:
        raise RequestError(
            f"--warmup {config.warmup:g} and --cooldown {config.cooldown:g} are more than all the steps; "
            f"type --cooldown with at most {1 - config.warmup:.6g}"
        )
    if config.hardest < 1 and (config.mixup or config.micro_batch):
        raise RequestError(
            "--hardest needs each image's own loss, which --mixup mixes and --micro-batch doesn't tell; leave one out"
        )
    if config.mixup and config.micro_batch:
        raise RequestError(
            "--mixup and --micro-batch don't go together: 7.5 takes labels, and mixed images have shares of two; "
            "leave one out"
        )
    return config


def _check(setting: Field[Any], value: Any) -> None:
    name, choices = option(setting.name), setting.metadata["choices"]
    kind, *may_be = get_args(setting.type) or (setting.type,)
    if may_be and value is None:
        return
    types, words = _KINDS[kind]
    if type(value) not in types or (kind is float and not math.isfinite(value)):
        raise RequestError(f"{name} must be {words}, not {value!r}")
    if choices and value not in choices:
        raise RequestError(f"{name} can't be {value!r}; {suggestion(value, choices)}")
    for word, bound in setting.metadata["bounds"].items():
        holds, spoken = _BOUNDS[word]
        if not holds(value, bound):
            raise RequestError(f"{name} must be {spoken} {bound}, not {value}")
