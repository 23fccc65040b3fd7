"""Muon: momentum whose matrices are made orthogonal before each step.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the scale of the steps from Liu
et al. 2025, "Muon is Scalable for LLM Training" (arXiv:2502.16982), section 2.2.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

# One step of the Newton-Schulz iteration takes every singular value s to a·s + b·s³ + c·s⁵: from (0, 1] towards 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon with all matrices of one shape at once: few large operations in place of many small ones.

    A parameter group may say of its parameters that each is so many "pieces", matrices one above the other: each is
    made orthogonal alone. The steps are as long as Adam's: 0.2 of the rate, on average over a matrix.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "pieces": 1})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for (height, width), parameters in alike.items():
                shape = (-1, height // group["pieces"], width)
                directions = orthogonalised(self._momentum(parameters, group["momentum"]).view(shape))
                length = 0.2 * max(shape[1:]) ** 0.5
                for parameter, direction in zip(parameters, directions.view(-1, height, width), strict=True):
                    parameter.add_(direction, alpha=-group["lr"] * length)

    def _momentum(self, parameters: list[nn.Parameter], decay: float) -> Tensor:
        """The gradients' moving averages, renewed, and a look ahead along them (Nesterov). (n, height, width)"""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - decay)
        return torch.stack(gradients).lerp(torch.stack(averages), decay)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with about the same singular vectors, and all singular values between 0.7 and 1.2. (n, height, width)"""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT).mT
    # A GPU is fast in bfloat16 and it is exact enough; many CPUs can't multiply in it but slowly.
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.to(matrices.dtype)
