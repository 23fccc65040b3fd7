"""The static pictures of the explorables, as SVG: what the model computes on the running image, drawn by hand."""

from collections.abc import Callable
from typing import Any

Told = dict[str, Any]


def river(told: Told) -> str:
    return "<svg viewBox='0 0 10 10'></svg>"


KINDS: dict[str, Callable[[Told], str]] = {"river": river}
