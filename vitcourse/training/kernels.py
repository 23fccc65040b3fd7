"""Torch's fused kernels in place of what exercises 3.1, 4.1 and 4.2 write out, where they compute the same.

Written out, a normalisation or a GELU passes over its numbers once for each line, and back once more; a fused kernel
passes over them once, and fused attention keeps no table of weights. The parameters stay the model's own, under their
names, so that optimiser and files see no difference. On a CPU, a model that is compiled has no need of it: the compiler
fuses the lines by itself.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class FusedAttention(nn.Module):
    """The multi-head attention of 3.4 with torch's attention; it has no weights to return."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv, self.out, self.n_heads = attention.qkv, attention.out, attention.n_heads

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        parts = self.qkv(x).chunk(3, dim=-1)  # (B, T, D) each
        q, k, v = (rearrange(part, "B T (h dh) -> B h T dh", h=self.n_heads) for part in parts)
        x = F.scaled_dot_product_attention(q, k, v)  # (B, h, T, dh)
        mixed: Tensor = self.out(rearrange(x, "B h T dh -> B T (h dh)"))
        return mixed


class FusedMLP(nn.Module):
    """The MLP of 4.3 with torch's GELU."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.fc1, self.fc2, self.dropout = mlp.fc1, mlp.fc2, mlp.dropout

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        x = self.dropout(F.gelu(self.fc1(x)))
        fused: Tensor = self.dropout(self.fc2(x))
        return fused


def use_fused_kernels(model: nn.Module) -> int:
    """Put the kernels into a model, wherever they give the same numbers; how many found a place."""
    found = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            fused = _fused(child)
            if fused is not None and _same(child, fused):
                setattr(parent, name, fused.train(child.training))
                found += 1
    return found


def _fused(module: Any) -> nn.Module | None:
    """What would take a module's place, judged by the names of the course's contract."""
    kind, parts = type(module).__name__, set(dict(module.named_children()))
    if kind == "LayerNorm" and not isinstance(module, nn.LayerNorm) and set(module.state_dict()) == {"weight", "bias"}:
        fused = nn.LayerNorm(len(module.weight), eps=getattr(module, "eps", 1e-6))
        fused.weight, fused.bias = module.weight, module.bias
        return fused
    if kind == "MultiHeadAttention" and parts == {"qkv", "out"} and hasattr(module, "n_heads"):
        return FusedAttention(module)
    if kind == "MLP" and parts == {"fc1", "fc2", "dropout"}:
        return FusedMLP(module)
    return None


@torch.no_grad()
def _same(module: Any, fused: Any) -> bool:
    """Whether both compute the same of random tokens, large ones and small ones. No draw of the run's is used up."""
    weight = next(module.parameters())  # all three begin with one that reads the width
    width = weight.shape[-1]
    scales = torch.tensor([0.01, 1.0, 10.0]).view(3, 1, 1)
    x = scales * torch.randn(3, 5, width, generator=torch.Generator().manual_seed(0))  # (3, 5, D)
    x = x.to(weight)
    training = module.training
    expected, got = module.eval()(x), fused.eval()(x)
    module.train(training)
    return torch.allclose(expected, got, rtol=1e-3, atol=1e-4)
