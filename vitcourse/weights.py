"""Weights from elsewhere into a model of this course, the reference's or a learner's: whoever trained them.

The names of the model's parts are the contract's; families.toml tells those of torchvision, timm, Hugging Face and
Google. The numbers are put into the model's own tensors, all of them or none.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitcourse.codesets import load_code
from vitcourse.errors import first_line, listed
from vitcourse.families import CLS, FAMILIES, IDLE, OTHERS, POSITIONS, PRE_LOGITS, STRANGERS, Family

# Under these names the model's state lies in files that hold more than that.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "run", "teacher", "module", "params")
FILES = ("weights.safetensors", "model.safetensors", "pytorch_model.bin")
# What a compiler, several processes, or a class around the model put in front of a name.
_PREFIXES = r"((module|model|net|backbone|vit|deit|beit|dinov2\w*)\.|(opt/target|params)/)+"

Grid = tuple[int, int]


@contextmanager
def _in_a_few_lines() -> Iterator[None]:
    """Where a part has another form than its name says, torch raises almost anything."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        said = first_line(error)[:100]
        raise ValueError(f"a part of these weights has another form than its name says ({said})") from error


@_in_a_few_lines()
def load_weights(
    model: nn.Module,
    source: Mapping[str, Any] | nn.Module | str | Path,
    *,
    head: str = "theirs",
    grid: Grid | None = None,
) -> None:
    """Load weights of any family into a VisionTransformer of this course: their model's logits come out.

    Of Google's files they come out nearly: its code approximates GELU by tanh, and the course's is exact.

    source is a state dict, a model that has one, or a file (.safetensors, .npz, or what torch.save wrote, read without
    running code) or the folder that holds it. With head="own" the model keeps its own head, for other classes than
    theirs. Positions of another patch grid are resized by exercise 2.5. Grids are taken to be square: of weights that
    aren't, grid says the grid (gh, gw); a model that isn't says it in an attribute `grid`. The norms get the ε of the
    weights' family.

    Raises ValueError, in a few lines, when the weights can't be read or don't fit; then nothing is loaded.

    Source of the resizing: Dosovitskiy et al. 2021, section 3.2.
    """
    expected = _asked_of(model, head, grid)
    state = {_bare(name): tensor for name, tensor in read_weights(source).items()}
    family = family_of(state)
    given = _under_our_names(family, state, expected, own_head=head == "own")
    for fault in _faults(family, state, given, expected, model):
        raise ValueError(f"these weights ({family.name}) {fault}")
    if POSITIONS in given and given[POSITIONS].ndim == 3:
        own = getattr(model, "grid", None)
        given[POSITIONS] = _fitted(given[POSITIONS], expected[POSITIONS].shape[1] - 1, grid, own and (own[0], own[1]))
    if misfits := _misfits(given, expected):
        told = listed(misfits, "\n  ")
        raise ValueError(f"these weights ({family.name}) don't fit the model:\n  {told}")
    theirs = {name: tensor.to(expected[name].dtype) for name, tensor in given.items() if tensor is not expected[name]}
    if broken := [name for name, tensor in theirs.items() if not tensor.isfinite().all()]:
        raise ValueError(f"these weights ({family.name}) hold NaN, or numbers without end, in:\n  {listed(broken)}")
    with torch.no_grad():
        for name, tensor in theirs.items():
            expected[name].copy_(tensor)
    _take_eps(model, family)


def _take_eps(model: nn.Module, family: Family) -> None:
    for name, module in model.named_modules():
        if family.eps and re.fullmatch(r"(blocks\.\d+\.)?norm[12]?", _bare(name)) and hasattr(module, "eps"):
            module.eps = family.eps


def _asked_of(model: nn.Module, head: str, grid: Grid | None) -> dict[str, Tensor]:
    """What a model wants to be given, by its names in the course, where all is asked for as it should be."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the model comes first, then the weights, and a {type(model).__name__} is no model")
    if head not in ("theirs", "own"):
        raise ValueError(f'head must be "theirs" or "own", not {head!r}')
    if grid is not None and not (isinstance(grid, tuple | list) and len(grid) == 2):
        raise ValueError(f"grid is rows and columns, such as grid=(4, 7), and not {grid!r}")
    expected = {_bare(name): tensor for name, tensor in model.state_dict().items()}
    if POSITIONS not in expected:
        raise ValueError(f"this {type(model).__name__} is no VisionTransformer of 5.1: it has no {POSITIONS}")
    return expected


@_in_a_few_lines()
def sizes_of(source: Mapping[str, Any] | nn.Module | str | Path) -> dict[str, float]:
    """What a model must be made with to take these weights, as far as they show it, and n_patches of their grid.

    Raises ValueError when they can't be read, or whose they are isn't known.
    """
    state = {_bare(name): tensor for name, tensor in read_weights(source).items()}
    given = family_of(state).translated(state)
    found = _sizes(given)
    if POSITIONS in given:
        found["n_patches"] = given[POSITIONS].shape[-2] - 1
    if (heads := _heads_shown(state)) is not None:
        found["n_heads"] = heads
    return found


def read_weights(source: Mapping[str, Any] | nn.Module | str | Path) -> dict[str, Tensor]:
    """The tensors of a source by their names. Raises ValueError when there are none."""
    found: Any = _read_file(Path(source).expanduser()) if isinstance(source, str | Path) else source
    while True:
        if isinstance(found, nn.Module):
            found = found.state_dict()
        if not isinstance(found, Mapping):
            kind = type(found).__name__
            if isinstance(source, str | Path):
                raise ValueError(f"{source} holds a {kind}, and no state dict")
            raise ValueError(f"weights are a state dict or a file, not a {kind}")
        inner = [found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping | nn.Module)]
        if not inner:
            break
        found = inner[0]
    tensors = {str(name): _as_tensor(value) for name, value in _flat(found) if isinstance(value, Tensor | np.ndarray)}
    if not tensors:
        keys = ", ".join(str(key) for key in list(found)[:5]) or "nothing"
        raise ValueError(f"there are no weights in it; it holds {keys}; pass the state dict itself")
    return tensors


def family_of(state: Mapping[str, Tensor]) -> Family:
    """Whose names these are. Raises ValueError when nobody's are known."""
    for pattern, whose in OTHERS.items():
        if any(re.search(pattern, name) for name in state):
            raise ValueError(f"these names are {whose}: another model than this course's ViT:\n  {listed(list(state))}")
    for family in FAMILIES:
        if any(re.match(family.known_by, name) for name in state):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise ValueError(f"whose names these are isn't known:\n  {listed(list(state))};\nknown are those of {known}")


def _bare(name: str) -> str:
    return re.sub(rf"^{_PREFIXES}", "", name.replace("_orig_mod.", ""))


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Names and values, also of Flax's dicts within dicts."""
    pairs: list[tuple[str, Any]] = []
    for name, value in found.items():
        pairs += _flat(value, f"{before}{name}/") if isinstance(value, Mapping) else [(f"{before}{name}", value)]
    return pairs


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def _read_file(path: Path) -> Any:
    if path.is_dir():
        path = next((path / name for name in FILES if (path / name).is_file()), path)
    if not path.is_file():
        raise ValueError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        # Many files of weights hold the options of their training, too.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from error
    except Exception as error:  # each library has errors of its own, and advice that doesn't help here
        raise ValueError(
            f"{path} can't be read as weights: it is none, is damaged, or holds more than tensors, which could run "
            "code; what can be read is .safetensors, .npz, and what torch.save(model.state_dict(), FILE) wrote"
        ) from error


def _under_our_names(
    family: Family, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], own_head: bool
) -> dict[str, Tensor]:
    """What of the weights is to be loaded; the model's own head in the place of theirs, if that is wanted."""
    without = f"{IDLE}|head[./].*|heads\\..*|{PRE_LOGITS}" if own_head else IDLE
    given = {name: tensor for name, tensor in family.translated(state).items() if not re.fullmatch(without, name)}
    if own_head:
        given.update({name: tensor for name, tensor in expected.items() if name.startswith("head.")})
    # A model made without biases for queries, keys and values computes what one with zeros does.
    biases = [name for name in expected if name.endswith("attention.qkv.bias")]
    if not any(name in given or f"{name}#0" in given for name in biases):
        given.update({name: torch.zeros_like(expected[name]) for name in biases if name[:-4] + "weight" in given})
    return given


_OWN_HEAD = 'to load all the rest and keep the model\'s own head, pass head="own"'


def _faults(
    family: Family,
    state: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    model: nn.Module,
) -> Iterator[str]:
    """What these weights have or lack so that the model can't take them, whatever their shapes."""
    extra = [name for name in given if name not in expected]
    for pattern, what in STRANGERS.items():
        if names := [name for name in extra if re.search(pattern, name)]:
            yield f"have what this model has not: {what}:\n  {listed(names)}"
    if any(re.fullmatch(PRE_LOGITS, name) for name in extra):
        yield (
            "have a layer in front of their head, pre_logits, which this model has not; "
            'to leave out both and keep the model\'s own head, pass head="own"'
        )
    if CLS not in given and family.name != "this course":
        yield "have no CLS token: their head reads all patches"
    theirs, ours = _sizes(given), _sizes(expected)
    if other := [name for name in ours if name in theirs and theirs[name] != ours[name]]:
        unlike = ", ".join(f"{name}={theirs[name]:g}, where this one has {ours[name]:g}" for name in other)
        sizes = ", ".join(f"{name}={size:g}" for name, size in theirs.items())
        yield f"are of a model of other sizes: {unlike};\nmake the model with: {sizes}"
    classes = [weights["head.weight"].shape[0] for weights in (given, expected) if "head.weight" in weights]
    if len(classes) == 2 and classes[0] != classes[1]:
        yield f"tell {classes[0]} classes, this model {classes[1]}: the head doesn't fit;\n{_OWN_HEAD}"
    if "head.weight" not in given and "head.weight" in expected:
        yield f"have no head;\n{_OWN_HEAD}"
    # Google's weights alone show how many heads share the width; the shapes would fit any other number too.
    shown = _heads_shown(state)
    heads = next((m.n_heads for m in model.modules() if isinstance(getattr(m, "n_heads", None), int)), None)
    if shown and heads and shown != heads:
        yield f"are of a model of {shown} heads, this one has {heads}; make it with n_heads={shown}"
    if not _takes_positions(given, model):
        yield 'have positions of their own; make the model with positions="learned"'


def _heads_shown(state: Mapping[str, Tensor]) -> int | None:
    return next((tensor.shape[1] for name, tensor in state.items() if name.endswith("_1/query/kernel")), None)


def _sizes(state: Mapping[str, Tensor]) -> dict[str, float]:
    """What a model must be made with, as far as its parameters show it."""
    found: dict[str, float] = {}
    projection, fc1 = state.get("patch_embedding.projection.weight"), state.get("blocks.0.mlp.fc1.weight")
    if projection is not None and projection.ndim == 4:
        found |= {"d_model": projection.shape[0], "in_channels": projection.shape[1], "patch_size": projection.shape[2]}
    blocks = [int(number[1]) for name in state if (number := re.match(r"blocks\.(\d+)\.", name))]
    if blocks:
        found["n_layers"] = 1 + max(blocks)
    if fc1 is not None:
        found["mlp_ratio"] = fc1.shape[0] / fc1.shape[1]
    return found


def _takes_positions(given: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Whether the model's positions are parameters, or a fixed table that is the same."""
    if any(_bare(name) == POSITIONS for name, _ in model.named_parameters()):
        return True
    own = next((tensor for name, tensor in model.named_buffers() if _bare(name) == POSITIONS), None)
    theirs = given.get(POSITIONS)
    return own is not None and theirs is not None and own.shape == theirs.shape and torch.allclose(own, theirs.to(own))


def _fitted(positions: Tensor, n_own: int, grid: Grid | None, own: Grid | None) -> Tensor:
    """Positions for the model's patch grid: as they are, or resized."""
    n_given, own = positions.shape[1] - 1, own or _square(n_own)
    theirs = _square(n_given)
    if grid is not None and math.prod(grid) == n_given:
        theirs = (grid[0], grid[1])
    elif grid is not None and tuple(grid) != own:
        raise ValueError(
            f"a grid of {grid[0]}×{grid[1]} has {math.prod(grid)} patches, and the weights positions of {n_given}; "
            "grid is that of the weights: rows, columns"
        )
    if n_given == n_own and (grid is None or own is None or theirs == own):
        return positions
    if theirs is None:
        raise ValueError(f"positions of {n_given} patches are no square; pass their grid: grid=(rows, columns)")
    if own is None or math.prod(own) != n_own:
        raise ValueError(
            f"positions of {n_given} patches can't be resized to {n_own}, since the model's grid isn't known;\n"
            "say it before: model.grid = (rows, columns)"
        )
    exact = positions.to(torch.promote_types(positions.dtype, torch.float32))
    resized: Tensor = load_code("solutions").module("ch02_tokens").resize_positions(exact, theirs, own)
    return resized


def _square(n: int) -> Grid | None:
    side = math.isqrt(n)
    return (side, side) if side * side == n else None


def _misfits(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Each tensor that is missing, too many, or of another shape."""
    return [
        *(f"{name}: missing from the weights" for name in expected if name not in given),
        *(f"{name}: the model has no such part" for name in given if name not in expected),
        *(
            f"{name}: the model's shape is {tuple(expected[name].shape)}, that of the weights {tuple(tensor.shape)}"
            for name, tensor in given.items()
            if name in expected and expected[name].shape != tensor.shape
        ),
    ]
