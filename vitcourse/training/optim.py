"""The optimiser around a train_step: parameter groups, gradient clipping, and a moving average of the weights.

Clipping and averaging are hooks on the optimiser's step, so that train_step keeps its five arguments.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vitcourse.errors import RequestError
from vitcourse.training.muon import Muon
from vitcourse.training.presets import TrainConfig

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Together(torch.optim.Optimizer):
    """Several optimisers as one, each with parameters of its own: a step is a step of each."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        # The groups are the parts' own, so that a learning rate set here holds there.
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of each part."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of each part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put each part into the state that it had. The groups are the parts' own, and stay so."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser that the configuration names, clipping included. Each group knows its peak rate as initial_lr."""
    optimizer = (
        _muon_and_adamw(model, config) if config.optimizer == "muon" else _adam(model.parameters(), model, config)
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    if config.clip:
        clip_gradients(optimizer, config.clip)
    return optimizer


def _adam(parameters: Iterable[nn.Parameter], model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    kind = OPTIMIZERS.get(config.optimizer, torch.optim.AdamW)
    wanted = {id(parameter) for parameter in parameters}
    groups = [
        {**group, "params": [p for p in group["params"] if id(p) in wanted]}
        for group in parameter_groups(model, config.weight_decay)
    ]
    optimizer: torch.optim.Optimizer = kind(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=config.fused,
        foreach=False if not config.fused else None,
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
    threes = [matrix for name, matrix in matrices.items() if name.endswith(".qkv")]
    others = [matrix for name, matrix in matrices.items() if not name.endswith(".qkv")]
    muon = Muon(
        [{"params": part, "pieces": pieces} for part, pieces in ((threes, 3), (others, 1)) if part],
        lr=config.muon_learning_rate,
    )
    inside = {id(matrix) for matrix in matrices.values()}
    return Together(muon, _adam([p for p in model.parameters() if id(p) not in inside], model, config))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: the weights of linear layers and convolutions, which decay, and the rest, which doesn't.

    The rest is biases, normalisations, the CLS token and learned positions.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    decaying = {id(layer.weight) for layer in layers}
    return [
        {"params": [p for p in model.parameters() if id(p) in decaying], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if id(p) not in decaying], "weight_decay": 0.0},
    ]


def clip_gradients(optimizer: torch.optim.Optimizer, longest: float) -> None:
    """Shorten the gradient of all parameters together to this norm, before each of the optimiser's steps."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_(parameters, longest)

    optimizer.register_step_pre_hook(clip)


def average_weights(model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> AveragedModel:
    """An exponential moving average of the model's weights, renewed after each step, in a copy: its `module`."""
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    optimizer.register_step_post_hook(lambda *_: averaged.update_parameters(model))
    return averaged


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, steps: int, warmup_cosine: Callable[..., float]
) -> None:
    """Set the learning rates of a step (counted from 0) of a run of so many steps."""
    factor = 1.0
    if config.schedule == "cosine":
        # From 1 and to one beyond the end: at both ends of the curve the rate is 0, and the step would be lost.
        factor = warmup_cosine(step + 1, round(config.warmup * steps), steps + 1)
    elif config.schedule == "trapezoid":
        # In the same way: no rate of 0, neither at the first step nor at the last.
        rise, fall = round(config.warmup * steps), round(config.cooldown * steps)
        factor = min(1.0, (step + 1) / max(rise, 1), (steps - step) / (fall + 1))
    for group in optimizer.param_groups:
        group["lr"] = factor * group["initial_lr"]
