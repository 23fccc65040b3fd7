"""The same numbers with less work: a model's parts computed by torch's fused kernels, and its last block for CLS alone.

Written out, a normalisation or a GELU passes over its numbers once for each line, and back once more; a fused kernel
passes over them once. And of what the last block makes of the tokens, only CLS's row is ever read: so one query is
enough there, and neither keys nor values have to be made.

A twin computes like this. It has the model's own parameters, so that optimiser and files see no difference, and it is
used only after it gave the same logits and the same gradients: the model may be anyone's.
"""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# Up to so many tokens plain products in float32 are faster than fused attention; on a GPU measured for 37, compiled.
FEW_TOKENS = {"cpu": 32, "cuda": 48}
SOME_IMAGES = 3
PARTS = ("norms", "GELU", "attention", "patches", "last block")


def twin_of(
    model: nn.Module, images: Tensor, n_heads: int, dropout: float, parts: Collection[str] = PARTS
) -> tuple[nn.Module, str]:
    """A model with the same parameters that computes the same faster, and how, in words: "" for the model itself.

    It is tried on a few of the images (B, C, H, W), which are as the model reads them, with all chance taken out. No
    draw of the run's is used up. Of its parts only those that are named are computed otherwise.
    """
    images = images[:SOME_IMAGES]
    with _without_chance():
        try:
            twin = _copy(model)
        except Exception:  # it holds what can't be copied, and trains as it is
            return model, ""
        found = _with_fused_parts(twin, n_heads, dropout, parts)
        told = [f"torch's kernels in {found} places"] if found else []
        if "last block" in parts and isinstance(getattr(twin, "blocks", None), nn.ModuleList | nn.Sequential):
            last, twin.blocks[-1] = twin.blocks[-1], LastBlock(twin.blocks[-1], n_heads, dropout)
            if _same(model, twin, images):
                return twin, " and ".join([*told, "the last block for CLS alone"])
            twin.blocks[-1] = last
        return (twin, told[0]) if found and _same(model, twin, images) else (model, "")


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention(Q, K, V), by torch's kernel or by products, whichever is faster: (B, h, T, dh) each and in return."""
    if q.dtype != torch.float32 or q.shape[-2] > FEW_TOKENS.get(q.device.type, 0):
        return F.scaled_dot_product_attention(q, k, v)
    output: Tensor = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return output


class FusedPatches(nn.Module):
    """The patch embedding of 1.3 as one matrix product, which it is."""

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.projection = embedding.projection

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D)."""
        p1, p2 = self.projection.kernel_size
        patches = rearrange(images, "B C (gh P1) (gw P2) -> B (gh gw) (C P1 P2)", P1=p1, P2=p2)
        return F.linear(patches, self.projection.weight.flatten(1), self.projection.bias)


class FusedAttention(nn.Module):
    """The multi-head attention of 3.4 with torch's attention; it has no weights to return."""

    def __init__(self, attention: Any, n_heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.n_heads = attention.qkv, attention.out, n_heads

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        q, k, v = rearrange(self.qkv(x), "B T (three h dh) -> three B h T dh", three=3, h=self.n_heads)
        mixed: Tensor = self.out(rearrange(attend(q, k, v), "B h T dh -> B T (h dh)"))
        return mixed


class FusedMLP(nn.Module):
    """The MLP of 4.3 with torch's GELU."""

    def __init__(self, mlp: Any, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2, self.rate = mlp.fc1, mlp.fc2, dropout

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        x = F.dropout(F.gelu(self.fc1(x)), self.rate, self.training)
        return F.dropout(self.fc2(x), self.rate, self.training)


class LastBlock(nn.Module):
    """The encoder block of 4.4 for the one token that is read after it.

    One query q a head meets the keys K = X·Wᵀ + b of all tokens X. Its scores q·Kᵀ are (q·W)·Xᵀ + q·b, which never
    makes K; and the mix of the values, a·(X·Wᵀ + b), is (a·X)·Wᵀ + b for weights a of sum 1.
    """

    def __init__(self, block: Any, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2, self.mlp = block.norm1, block.attention, block.norm2, block.mlp
        self.n_heads, self.rate = n_heads, dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, 1, D)."""
        cls = x[:, :1]  # (B, 1, D)
        cls = cls + F.dropout(self._attention_of_cls(self.norm1(x)), self.rate, self.training)
        block: Tensor = cls + self.mlp(self.norm2(cls))
        return block

    def _attention_of_cls(self, x: Tensor) -> Tensor:
        qkv = self.attention.qkv
        (w_q, w_k, w_v), (b_q, b_k, b_v) = qkv.weight.chunk(3), qkv.bias.chunk(3)  # (D, D) and (D) each
        w_k, w_v = (rearrange(w, "(h dh) D -> h dh D", h=self.n_heads) for w in (w_k, w_v))
        b_k, b_v = (rearrange(b, "(h dh) -> h 1 dh", h=self.n_heads) for b in (b_k, b_v))
        q = rearrange(F.linear(x[:, 0], w_q, b_q), "B (h dh) -> h B dh", h=self.n_heads) * w_k.shape[1] ** -0.5
        scores = rearrange(q @ w_k, "h B D -> B h D") @ x.transpose(1, 2)  # (B, h, T)
        scores = scores + rearrange(q * b_k, "h B dh -> B h dh").sum(-1, keepdim=True)  # (B, h, T)
        mix = scores.softmax(dim=-1) @ x  # (B, h, D)
        heads = rearrange(mix, "B h D -> h B D") @ w_v.transpose(1, 2) + b_v  # (h, B, dh)
        mixed: Tensor = self.attention.out(rearrange(heads, "h B dh -> B 1 (h dh)"))
        return mixed


def _copy(model: nn.Module) -> Any:
    """A copy of the modules that shares their parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def _with_fused_parts(twin: nn.Module, n_heads: int, dropout: float, parts: Collection[str]) -> int:
    """Put in what gives the same, part by part; how many found a place."""
    found = 0
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            candidates = (fused for part, fused in _candidates(child, n_heads, dropout) if part in parts)
            fused = next((one for one in candidates if _same(child, one, _example(child))), None)
            if fused is not None:
                setattr(parent, name, fused.train(child.training))
                found += 1
    return found


def _candidates(module: Any, n_heads: int, dropout: float) -> Iterator[tuple[str, nn.Module]]:
    """What may take a module's place, and which part that is, judged by the names of the course's contract."""
    held = {name for name, _ in module.named_parameters()}
    if held == {"weight", "bias"} and module.weight.ndim == 1 and type(module) is not nn.LayerNorm:
        for eps in dict.fromkeys([getattr(module, "eps", 1e-6), 1e-6, 1e-5]):
            norm = nn.LayerNorm(len(module.weight), eps=eps)
            norm.weight, norm.bias = module.weight, module.bias
            yield "norms", norm
    elif held == {"qkv.weight", "qkv.bias", "out.weight", "out.bias"}:
        yield "attention", FusedAttention(module, n_heads)
    elif held == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}:
        yield "GELU", FusedMLP(module, dropout)
    elif held == {"projection.weight", "projection.bias"} and isinstance(module.projection, nn.Conv2d):
        yield "patches", FusedPatches(module)


def _example(module: Any) -> Tensor:
    """What to try a part on: small images, or random tokens (3, 5, D), small ones and large ones."""
    weight = next(module.parameters())  # all begin with one that reads the width
    if isinstance(getattr(module, "projection", None), nn.Conv2d):
        p1, p2 = module.projection.kernel_size
        return _random(2, module.projection.in_channels, 2 * p1, 3 * p2).to(weight)
    scales = torch.tensor([0.01, 1.0, 10.0]).view(3, 1, 1)
    return (scales * _random(3, 5, weight.shape[-1])).to(weight)


def _random(*shape: int) -> Tensor:
    """Noise that uses up no draw of the run's."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@contextmanager
def _without_chance() -> Iterator[None]:
    """Dropout as a pattern along the width, which shows where it stands and at which rate; all products in float32."""

    def pattern(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * (1 - p * torch.arange(x.shape[-1], device=x.device).cos()) if training else x

    dropout, precision = F.dropout, torch.get_float32_matmul_precision()
    F.dropout = pattern  # type: ignore[assignment]
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        F.dropout = dropout
        torch.set_float32_matmul_precision(precision)


def _same(model: nn.Module, twin: nn.Module, example: Tensor) -> bool:
    """Whether both compute the same, in training and in evaluation, and have the same gradients."""
    modes = [(module, module.training) for both in (model, twin) for module in both.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        pairs = zip(_results(model, example, learned), _results(twin, example, learned), strict=True)
        return all(_near(one, other) for one, other in pairs)
    except Exception:  # whatever a model of another build raises with another part in it
        return False
    finally:
        for module, was_training in modes:
            module.training = was_training
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _near(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding: a ten thousandth of the largest number, and of 0.1 where all are nearly 0."""
    return one.shape == other.shape and bool((one - other).abs().max() <= 1e-4 * max(float(one.abs().max()), 0.1))


def _results(module: nn.Module, example: Tensor, learned: list[nn.Parameter]) -> Iterator[Tensor]:
    """The output in evaluation and in training, and the gradient of each parameter."""
    for training in (False, True):
        output = module.train(training)(example)
        yield output.detach()
    weights = torch.arange(output.numel(), device=output.device).cos().view_as(output)
    yield from torch.autograd.grad((output * weights).sum(), learned, materialize_grads=True)
