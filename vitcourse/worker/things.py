"""Modules as data, and what the worker makes from a description: a convolution, a model to be trained, an optimizer."""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

_SETTINGS = ("kernel_size", "stride")


def structure(module: nn.Module, whole: bool = True) -> dict[str, Any]:
    """What a module holds: parameters, buffers, tensors that are neither; and if wanted modules, hidden modules."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    saved = module.state_dict() if any(True for _ in module.buffers()) else {}
    held: dict[str, Any] = {
        "parameters": {
            name: {
                "shape": tuple(value.shape),
                "dtype": value.dtype,
                "trained": value.requires_grad,
                "leaf": value.is_leaf,
            }
            for name, value in parameters.items()
        },
        "shared": {
            name: first[id(value)] for name, value in parameters.items() if first.setdefault(id(value), name) != name
        },
        "buffers": {
            name: {"shape": tuple(value.shape), "dtype": value.dtype, "saved": name in saved}
            for name, value in module.named_buffers()
        },
        "modes": {path: part.training for path, part in module.named_modules()},
        "plain": {
            f"{path}.{name}".lstrip("."): tuple(value.shape)
            for path, part in module.named_modules()
            for name, value in (*vars(type(part)).items(), *vars(part).items())
            if isinstance(value, Tensor)
        },
    }
    if whole:
        held |= {
            "hidden": {
                f"{path}.{name}".lstrip("."): kind.__name__
                for path, part in module.named_modules()
                for name, value in vars(part).items()
                for kind in (list, tuple, dict)
                if isinstance(value, kind) and name != "_modules" and _trainable(value)
            },
            "modules": {path: _described(part) for path, part in module.named_modules(remove_duplicate=False)},
        }
    return held


def _trainable(held: Any) -> bool:
    """Whether modules that have parameters stand in a container."""
    items = held.values() if isinstance(held, dict) else held
    return any(isinstance(item, nn.Module) and any(True for _ in item.parameters()) for item in items)


def values(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer, by name, as it is now."""
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def hooks(thing: Any) -> int:
    """How many hooks hang on a model's modules, and on torch's own list for all modules; forwards put in place too."""
    if not isinstance(thing, nn.Module):
        return 0
    kept = [vars(nn.modules.module), *(vars(part) for part in thing.modules())]
    lists = [value for space in kept for name, value in space.items() if name.endswith("_hooks")]
    return sum(len(held) for held in lists if isinstance(held, dict)) + sum("forward" in space for space in kept)


def watched(model: nn.Module, events: list[dict[str, Any]]) -> None:
    """Have each module of a model note how it runs: each way in which any of them runs is one event."""

    def note(part: nn.Module, _: Any, result: Any) -> None:
        parts = result if isinstance(result, tuple | list) else (result,)
        recorded = any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in parts)
        event = {"event": "run", "training": part.training, "gradients": recorded}
        if event not in events:
            events.append(event)

    for part in model.modules():
        part.register_forward_hook(note)


def _described(module: nn.Module) -> dict[str, Any]:
    kinds = [kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn")]
    found = {name: getattr(module, name, None) for name in _SETTINGS}
    settings = {name: value for name, value in found.items() if isinstance(value, int | float | tuple)}
    length = len(module) if hasattr(type(module), "__len__") else 0  # type: ignore[arg-type]
    return {"torch": kinds, "length": length, **settings}


class Kept:
    """Something of a forward pass that lives as long as its graph needs it."""

    def __init__(self, number: int, tensor: Tensor | None = None) -> None:
        self.number, self.tensor = number, tensor


class Graphs:
    """Of which forward passes there is still something: tensors saved for a backward pass, or nodes of the graph."""

    def __init__(self) -> None:
        self.number = 0
        self.saved: WeakSet[Kept] = WeakSet()
        self.nodes: WeakSet[Kept] = WeakSet()

    def alive(self) -> dict[str, int]:
        """How many passes still hold tensors, and of how many before the last one nodes are still there."""
        saved, nodes = ({kept.number for kept in group} for group in (self.saved, self.nodes))
        return {"saved": len(saved), "graphs": len(nodes - {self.number})}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Graphs":
        return Graphs()

    def follow(self, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Run a forward pass, and know later whether it is still kept. Transforms of torch.func keep no such graph."""
        if torch._C._are_functorch_transforms_active():
            return forward(x)
        self.number += 1
        number = self.number

        def save(tensor: Tensor) -> Kept:
            kept = Kept(number, tensor)
            self.saved.add(kept)
            return kept

        with torch.autograd.graph.saved_tensors_hooks(save, lambda kept: kept.tensor):
            result = forward(x)
        if result.requires_grad:
            node = Kept(number)
            self.nodes.add(node)
            result.register_hook(lambda _, node=node: None)  # type: ignore[no-untyped-call]
        return result


class Probe(nn.Module):
    """A linear classifier with modules in modules, which notes how it is run, and what of earlier runs is kept."""

    def __init__(self, n_pixels: int, n_classes: int, events: list[dict[str, Any]]) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Dropout(0.0)))
        self.linear = nn.Linear(n_pixels, n_classes)
        self.events, self.graphs = events, Graphs()

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        modes = {path: part.training for path, part in self.named_modules()}
        note = {"event": "forward", "modes": modes, "gradients": torch.is_grad_enabled(), "batch": len(images)}
        note |= self.graphs.alive()
        logits = self.graphs.follow(self.linear, self.features(images))
        self.events.append({**note, "dtype": logits.dtype})
        return logits


def convolution(description: Mapping[str, Any]) -> nn.Conv2d:
    """A patch embedding's convolution, with the weights that are given: (D, C, P, P) and (D)."""
    weight, bias = description["weight"], description["bias"]
    patch = weight.shape[-1]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], patch, stride=patch, dtype=weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
    return conv


def probe(description: Mapping[str, Any], events: list[dict[str, Any]]) -> Probe:
    """A classifier with the weights that are given: (K, C·H·W) and (K); stale gives it gradients of earlier."""

    def note(_: Any) -> None:
        if events[-1:] != [{"event": "backward"}]:  # once for all parameters
            events.append({"event": "backward"})

    weight = description["weight"]
    model = Probe(weight.shape[1], weight.shape[0], events).to(weight.dtype)
    with torch.no_grad():
        model.linear.weight.copy_(weight)
        model.linear.bias.copy_(description["bias"])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if description.get("stale") else None
        parameter.register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]
    return model.train(description["training"])


def descent(model: nn.Module, lr: float, momentum: float, events: list[dict[str, Any]]) -> torch.optim.SGD:
    """Gradient descent, which notes its steps and whether there were gradients to use."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)

    def note(*_: Any) -> None:
        ready = any(parameter.grad is not None for parameter in model.parameters())
        events.append({"event": "step", "ready": ready})

    optimizer.register_step_pre_hook(note)
    return optimizer
