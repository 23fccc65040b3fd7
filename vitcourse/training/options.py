"""One command-line option for every hyper-parameter, made from the records in presets.py."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vitcourse.training.presets import help_line, option, settings


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
