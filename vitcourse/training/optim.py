"""The optimiser around a train_step: parameter groups, gradient clipping, and a moving average of the weights.

Clipping and averaging are hooks on the optimiser's step, so that train_step keeps its five arguments. Nothing of it
waits for a GPU, and all of it can be recorded as part of a CUDA graph.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vitcourse.errors import RequestError, RunError
from vitcourse.training.muon import Muon
from vitcourse.training.presets import TrainConfig


class CombinedOptimizer(torch.optim.Optimizer):
    """Several optimisers as one, each with parameters of its own: a step is a step of each."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        # The groups are the parts' own, so that a learning rate set here holds there.
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of each part; what the closure returns, if there is one."""
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of each part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put each part into the state that it had. The groups are the parts' own, and stay so."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            load_optimizer(part, state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def make_optimizer(model: nn.Module, config: TrainConfig, transfer: Any = None) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, clipping included. Each group knows its peak rate as initial_lr.

    Where the rate falls layer by layer, transfer, a chapter 7, makes the groups.

    On a GPU the rates are tensors: a recorded step reads them where they stand.
    """
    if config.optimizer == "muon":
        optimizer: torch.optim.Optimizer = _muon_and_adamw(model, config)
    elif config.layer_decay != 1:
        optimizer = _adam(groups_by_layer(model, config, transfer), config)
    else:
        optimizer = _adam(parameter_groups(model, config.weight_decay), config)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        if _on_gpu(group["params"]):
            group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
    optimizer.register_step_pre_hook(_gradients_first)
    if config.clip:
        clip_gradients(optimizer, config.clip)
    return optimizer


def _gradients_first(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a step's closure, if it has one, before anything else: what is clipped are then the gradients it makes."""
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    if closure is None:
        return None
    with torch.enable_grad():
        loss = closure()
    return (args[0], lambda: loss), {}


def _adam(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    # Beside Muon stands AdamW.
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = kind(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=config.fused,
        foreach=False if not config.fused else None,
        capturable=_on_gpu(parameter for group in groups for parameter in group["params"]),
    )
    return optimizer


def _muon_and_adamw(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Muon for the matrices inside the encoder blocks, AdamW for what is no matrix, reads pixels or makes logits."""
    matrices = {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith("blocks.")
    }
    if not matrices:
        raise RequestError("--optimizer muon needs encoder blocks that hold linear layers; type --optimizer adamw")
    # Queries, keys and values are three maps, though one layer makes them.
    pieces = [3 if name.endswith(".qkv") else 1 for name in matrices]
    groups = [{"params": list(matrices.values()), "pieces": pieces}]
    muon = Muon(groups, lr=config.muon_learning_rate, momentum=config.muon_momentum)
    return CombinedOptimizer(muon, _adam(parameter_groups(model, config.weight_decay, matrices.values()), config))


def parameter_groups(model: nn.Module, weight_decay: float, without: Iterable[Tensor] = ()) -> list[dict[str, Any]]:
    """Two groups: the weights of linear layers and convolutions, which decay, and the rest, which doesn't.

    The rest is biases, normalisations, the CLS token and learned positions.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    decaying, others = {id(layer.weight) for layer in layers}, {id(parameter) for parameter in without}
    own = [parameter for parameter in model.parameters() if id(parameter) not in others]
    return [
        {"params": [p for p in own if id(p) in decaying], "weight_decay": weight_decay},
        {"params": [p for p in own if id(p) not in decaying], "weight_decay": 0.0},
    ]


def groups_by_layer(model: nn.Module, config: TrainConfig, transfer: Any) -> list[dict[str, Any]]:
    """The groups of 7.3. Raises RunError when these can't be an optimiser's."""
    found = transfer.param_groups(model, config.learning_rate, config.weight_decay, config.layer_decay)
    try:
        groups = [{**group, "params": list(group["params"])} for group in found]
        given = [id(parameter) for group in groups for parameter in group["params"]]
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(
            f"param_groups returns no groups ({type(error).__name__}: {error}); type vitcourse check 7.3"
        ) from error
    if sorted(given) != sorted(id(parameter) for parameter in model.parameters()):
        raise RunError("param_groups doesn't return each parameter once; to find out why, type vitcourse check 7.3")
    return groups


def clip_gradients(optimizer: torch.optim.Optimizer, longest: float) -> None:
    """Shorten the gradient of all parameters together to this norm, before each of the optimiser's steps."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(parameters, longest)

    optimizer.register_step_pre_hook(clip)


def average_weights(model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> nn.Module:
    """A copy of the model whose weights are a moving average of its own, from the start on, renewed at each step.

    Its buffers, such as the running means of a batch norm, are the model's own as they are.
    """
    averaged = copy.deepcopy(model)
    averages: list[Tensor] = list(averaged.parameters())
    weights: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def renew(*_: object) -> None:
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for buffer, own in zip(averaged.buffers(), model.buffers(), strict=True):
            buffer.copy_(own)

    optimizer.register_step_post_hook(renew)
    return averaged


def rate_factor(config: TrainConfig, step: int, steps: int, warmup_cosine: Callable[..., float]) -> float:
    """The factor on the peak learning rates at a step (counted from 0) of a run of so many steps."""
    if config.schedule == "cosine":
        # From 1 and to one beyond the end: at both ends of the curve the rate is 0, and the step would be lost.
        return warmup_cosine(step + 1, round(config.warmup * steps), steps + 1)
    if config.schedule == "trapezoid":
        # In the same way: no rate of 0, neither at the first step nor at the last.
        rise, fall = round(config.warmup * steps), round(config.cooldown * steps)
        return min(1.0, (step + 1) / max(rise, 1), (steps - step) / (fall + 1))
    return 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to this share of its peak."""
    for group in optimizer.param_groups:
        rate = factor * group["initial_lr"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put an optimiser into a state that one on another kind of device may have left: the way of computing stays."""
    if not isinstance(optimizer, CombinedOptimizer):
        ways = [{name: group[name] for name in _WAYS if name in group} for group in optimizer.param_groups]
        groups = [{**group, **way} for group, way in zip(state["param_groups"], ways, strict=True)]
        state = {**state, "param_groups": groups}
    optimizer.load_state_dict(state)


# What a parameter group says of how it is computed, in place of what.
_WAYS = ("lr", "fused", "foreach", "capturable")


def _on_gpu(parameters: Iterable[nn.Parameter]) -> bool:
    return any(parameter.is_cuda for parameter in parameters)
