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

    A parameter group says of each of its parameters how many "pieces" it has, matrices one above the other: each piece
    is made orthogonal alone. A matrix and one of the transposed shape go together. The steps are as long as Adam's: 0.2
    of the rate, on average over a matrix. The rate may be a tensor.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [(p, n) for p, n in zip(group["params"], group["pieces"], strict=True) if p.grad is not None]
            if not moved:
                continue
            ahead = self._momentum([parameter for parameter, _ in moved], group["momentum"])
            alike: dict[torch.Size, list[tuple[Tensor, Tensor, bool]]] = defaultdict(list)
            for (parameter, n), one in zip(moved, ahead, strict=True):
                matrices = one.reshape(n, one.shape[0] // n, -1)
                tall = matrices.shape[1] > matrices.shape[2]
                wide = matrices.mT if tall else matrices
                alike[wide.shape[1:]].append((parameter, wide, tall))
            for shape, same in alike.items():
                together = torch.cat([wide for _, wide, _ in same])
                directions = orthogonalised(together) * (-0.2 * shape[1] ** 0.5 * group["lr"])
                parts = zip(same, directions.split([len(wide) for _, wide, _ in same]), strict=True)
                steps = [(part.mT.contiguous() if tall else part).view_as(p) for (p, _, tall), part in parts]
                torch._foreach_add_([parameter for parameter, _, _ in same], steps)

    def _momentum(self, parameters: list[nn.Parameter], decay: float) -> list[Tensor]:
        """The gradients' moving averages, renewed, and a look ahead along them (Nesterov)."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - decay)
        return list(torch._foreach_lerp(gradients, averages, decay))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Wide matrices with about the same singular vectors, all singular values from 0.7 to 1.2. (n, height, width)."""
    # A GPU is fast in bfloat16 and it is exact enough; many CPUs can't multiply in it but slowly.
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.to(matrices.dtype)
