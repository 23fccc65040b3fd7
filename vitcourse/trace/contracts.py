"""Names that a signature promises: jaxtyping's shapes, and the standard names of hyper-parameters."""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitcourse.trace.symbols import Scope, Size

# What the course, and the papers' own codes, call their numbers. Only names that always mean the same are here.
HYPERPARAMETERS: dict[str, str | tuple[str, str]] = {
    "batch_size": "B",
    "patch_size": "P",
    "image_size": ("H", "W"),
    "img_size": ("H", "W"),
    "grid": ("gh", "gw"),
    "grid_size": ("gh", "gw"),
    "new_grid": ("gh'", "gw'"),
    "channels": "C",
    "in_channels": "C",
    "in_chans": "C",
    "n_channels": "C",
    "num_channels": "C",
    "n_patches": "N",
    "num_patches": "N",
    "n_tokens": "T",
    "num_tokens": "T",
    "d_model": "D",
    "embed_dim": "D",
    "n_heads": "h",
    "num_heads": "h",
    "heads": "h",
    "nhead": "h",
    "d_head": "dh",
    "head_dim": "dh",
    "dim_head": "dh",
    "mlp_dim": "M",
    "dim_feedforward": "M",
    "ratio": "ratio",
    "mlp_ratio": "ratio",
    "n_layers": "L",
    "num_layers": "L",
    "n_classes": "K",
    "num_classes": "K",
}
# Attributes that other modules than a ViT's have too, with other meanings.
AMBIGUOUS_ATTRIBUTES = {"in_channels", "channels", "image_size", "img_size", "batch_size", "ratio", "n_layers"}


def symbol(word: str) -> str:
    """A name from a signature, as the course writes it: new_gh is gh'."""
    return f"{word.removeprefix('new_')}'" if word.startswith("new_") else word


@dataclass(frozen=True)
class Contract:
    """The shapes that a function promises, each as the words of a jaxtyping string."""

    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    results: tuple[tuple[tuple[str, ...] | None, ...], ...] = ()


def words(text: str) -> tuple[str, ...]:
    """`"B C*P*P"` and `"(B, C·P·P)"` as ("B", "C*P*P")."""
    parts = re.sub(r"[(),]", " ", text).replace("·", "*").split()
    return tuple(re.sub(r"[A-Za-z_]\w*", lambda match: symbol(match[0]), part) for part in parts)


def _shape(annotation: Any) -> tuple[str, ...] | None:
    text = getattr(annotation, "dim_str", None)
    return words(text) if isinstance(text, str) else None


def contract_of(function: Callable[..., Any]) -> Contract:
    """What a function's annotations promise."""
    try:
        annotations = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    except Exception:
        # An annotation that can't be evaluated promises nothing.
        return Contract()
    shapes = {name: _shape(annotation) for name, annotation in annotations.items()}
    arguments = {name: shape for name, shape in shapes.items() if shape is not None and name != "return"}
    return Contract(arguments, tuple(_results(annotations.get("return"))))


def _results(annotation: Any) -> list[tuple[tuple[str, ...] | None, ...]]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return [result for choice in typing.get_args(annotation) for result in _results(choice)]
    if typing.get_origin(annotation) is tuple:
        return [tuple(_shape(item) for item in typing.get_args(annotation))]
    shape = _shape(annotation)
    return [(shape,)] if shape is not None else []


class Naming:
    """One call under a contract: its words, bound to the sizes of its arguments."""

    def __init__(self, scope: Scope, contract: Contract, given: bool) -> None:
        self.scope = scope
        self.contract = contract
        self.given = given
        self.local: dict[str, Size] = {}

    def arguments(self, values: Mapping[str, Any], axes: Callable[[Tensor], tuple[Size, ...]]) -> None:
        """Bind the words of the arguments' shapes, and name the axes that have no name."""
        for name, shape in self.contract.arguments.items():
            value = values.get(name)
            if isinstance(value, Tensor):
                for word, size in _aligned(shape, axes(value)) or ():
                    self._bind(word, size)

    def _bind(self, word: str, size: Size) -> None:
        if not word.isidentifier() and not word.endswith("'"):
            return
        unknown = self.scope.resolve(size).unknown
        if unknown is not None and word not in self.local:
            self.scope.name(unknown, word)
        self.local.setdefault(word, size)

    def results(self, value: Any, axes: Callable[[Tensor], tuple[Size, ...]]) -> None:
        """Name the axes of a result, if it is what the contract says in everything that is known of it."""
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        for promised in self.contract.results:
            if len(promised) != len(values) or not all(isinstance(v, Tensor) for v in values):
                continue
            pairs = []
            for shape, tensor in zip(promised, values, strict=True):
                aligned = _aligned(shape, axes(tensor)) if shape is not None else []
                if aligned is None:
                    return
                pairs.extend(aligned)
            if all(self._agrees(word, size) for word, size in pairs):
                for word, size in pairs:
                    self._bind(word, size)
            return

    def _agrees(self, word: str, size: Size) -> bool:
        known = self.scope.text(size)
        if word.isdigit() or (size.constant and size.value != 1):
            return size.constant and (not word.isdigit() or int(word) == size.value)
        if known is None:
            bound = self.local.get(word)
            return bound is None or self.scope.text(bound) in (None, word)
        if word in self.local:
            return self.scope.text(self.local[word]) == known
        promised = self.scope.parse(word, given=False)
        if promised is None:
            return not word.isidentifier()
        return self.scope.text(promised) == known


def _aligned(shape: tuple[str, ...], axes: tuple[Size, ...]) -> list[tuple[str, Size]] | None:
    dots = [i for i, word in enumerate(shape) if word.startswith(("...", "*"))]
    if not dots:
        return list(zip(shape, axes, strict=True)) if len(shape) == len(axes) else None
    before, after = shape[: dots[0]], shape[dots[0] + 1 :]
    if len(before) + len(after) > len(axes):
        return None
    ends = axes[len(axes) - len(after) :] if after else ()
    return [*zip(before, axes, strict=False), *zip(after, ends, strict=True)]
