"""What others call the parts of a Vision Transformer, and how they lay out its numbers: families.toml, read."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import torch
from torch import Tensor

CLS, POSITIONS = "positional_encoding.cls_token", "positional_encoding.positions"
_HOLES = {"{i}": r"(?P<i>\d+)", "{n}": r"(?P<n>[12])", "{p}": r"(?P<p>weight|bias|kernel|scale)"}


@dataclass(frozen=True)
class Family:
    """Models whose parts have the same names: how they are known, translated, laid out, and what ε their norms have."""

    name: str
    known_by: str
    names: dict[str, str] = field(default_factory=dict)
    eps: float | None = None
    layout: str = "torch"

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same numbers under this course's names; a name that isn't the family's stays as it is."""
        found: dict[str, Tensor] = {}
        for name, tensor in state.items():
            ours = self.our_name(name)
            found[ours] = _from_flax(ours, tensor) if self.layout == "flax" and ours != name else tensor
        for name in [name for name in found if name.endswith("#0")]:
            whole = name[:-2]
            if all(f"{whole}#{part}" in found for part in range(3)):
                found[whole] = torch.cat([found.pop(f"{whole}#{part}") for part in range(3)])
        return found

    def our_name(self, name: str) -> str:
        """The name of one parameter in this course."""
        for theirs, ours in self.names.items():
            pattern = re.escape(theirs).replace(r"\{", "{").replace(r"\}", "}")
            for hole, expression in _HOLES.items():
                pattern = pattern.replace(hole, expression)
            found = re.fullmatch(pattern, name)
            if found:
                words = found.groupdict()
                if words.get("p") in ("kernel", "scale"):
                    words["p"] = "weight"
                return ours.format(**words)
        return name


def _from_flax(name: str, tensor: Tensor) -> Tensor:
    """Flax keeps kernels as (in, out), a convolution's as (P, P, C, D), and the heads as an axis of their own."""
    if ".qkv.bias" in name:
        return tensor.flatten()
    if ".weight" not in name or tensor.ndim < 2:
        return tensor
    if "projection" in name:
        return tensor.permute(3, 2, 0, 1)
    return (tensor.flatten(0, 1) if ".out." in name else tensor.flatten(1)).T


_KNOWN: dict[str, Any] = tomllib.loads(resources.files("vitcourse").joinpath("families.toml").read_text("utf-8"))
FAMILIES = tuple(Family(**entry) for entry in _KNOWN["family"])
STRANGERS: dict[str, str] = _KNOWN["strangers"]
OTHERS: dict[str, str] = _KNOWN["others"]
IDLE: str = _KNOWN["idle"]
PRE_LOGITS: str = _KNOWN["pre_logits"]
