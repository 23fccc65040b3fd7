"""The same numbers with less work: a model's parts computed by torch's fused kernels, and its last block for CLS alone.

Written out, a normalisation or a GELU passes over its numbers once for each line, and back once more; a fused kernel
passes over them once. And of what the last block makes of the tokens, only CLS's row is ever read: so one query is
enough there, and neither keys nor values have to be made.

A twin computes like this. It has the model's own parameters, so that optimiser and files see no difference, and it is
used only after it gave the same logits and the same gradients: the model may be anyone's.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
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
    with _without_chance(images.device):
        try:
            plain, tried, twin = (_copy(model) for _ in range(3))
        except Exception:  # it holds what can't be copied, and trains as it is
            return model, ""
        expected, found, told = _outcome(plain, images), 0, []
        for part in list(tried.modules()):
            ways = (way for name, way in _ways(part, n_heads, dropout) if name in parts)
            found += any(_taken(part, way, part, _example(part), _outcome(part, _example(part))) for way in ways)
        if found:
            told.append(f"torch's kernels in {found} places")
        if "last block" in parts and isinstance(getattr(tried, "blocks", None), nn.ModuleList | nn.Sequential):
            way = partial(last_block, n_heads=n_heads, dropout=dropout)
            if _taken(tried.blocks[-1], way, tried, images, expected):
                told.append("the last block for CLS alone")
        # Twice: what a pass in training leaves in the twin, the model, which has none, would miss.
        if not told or not all(_same(expected, _outcome(tried, images)) for _ in range(2)):
            return model, ""
    for part, example in zip(twin.modules(), tried.modules(), strict=True):
        part.__class__ = type(example)
    return twin, " and ".join(told)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention(Q, K, V), by torch's kernel or by products, whichever is faster: (B, h, T, dh) each and in return."""
    if q.dtype != torch.float32 or q.shape[-2] > FEW_TOKENS.get(q.device.type, 0):
        return F.scaled_dot_product_attention(q, k, v)
    output: Tensor = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return output


# In the place of what a part of a twin computes


def norm(part: Any, x: Tensor, *, eps: float) -> Tensor:
    """The layer normalisation of 4.1: (…, D) -> (…, D)."""
    return F.layer_norm(x, part.weight.shape, part.weight, part.bias, eps)


def patches(part: Any, images: Tensor) -> Tensor:
    """The patch embedding of 1.3 as one matrix product, which it is: (B, C, H, W) -> (B, N, D)."""
    p1, p2 = part.projection.kernel_size
    cut = rearrange(images, "B C (gh P1) (gw P2) -> B (gh gw) (C P1 P2)", P1=p1, P2=p2)
    return F.linear(cut, part.projection.weight.flatten(1), part.projection.bias)


def attention(part: Any, x: Tensor, *, n_heads: int) -> Tensor:
    """The multi-head attention of 3.4 with torch's attention; it has no weights to return. (B, T, D) -> (B, T, D)."""
    q, k, v = rearrange(part.qkv(x), "B T (three h dh) -> three B h T dh", three=3, h=n_heads)
    mixed: Tensor = part.out(rearrange(attend(q, k, v), "B h T dh -> B T (h dh)"))
    return mixed


def mlp(part: Any, x: Tensor, *, dropout: float) -> Tensor:
    """The MLP of 4.3 with torch's GELU: (…, D) -> (…, D)."""
    x = F.dropout(F.gelu(part.fc1(x)), dropout, part.training)
    return F.dropout(part.fc2(x), dropout, part.training)


def last_block(block: Any, x: Tensor, *, n_heads: int, dropout: float) -> Tensor:
    """The encoder block of 4.4 for the one token that is read after it: (B, T, D) -> (B, 1, D).

    One query q a head meets the keys K = X·Wᵀ + b of all tokens X. Its scores q·Kᵀ are (q·W)·Xᵀ + q·b, which never
    makes K; and the mix of the values, a·(X·Wᵀ + b), is (a·X)·Wᵀ + b for weights a of sum 1.
    """
    cls, x, qkv = x[:, :1], block.norm1(x), block.attention.qkv
    (w_q, w_k, w_v), (b_q, b_k, b_v) = qkv.weight.chunk(3), qkv.bias.chunk(3)  # (D, D) and (D) each
    w_k, w_v = (rearrange(w, "(h dh) D -> h dh D", h=n_heads) for w in (w_k, w_v))
    b_k, b_v = (rearrange(b, "(h dh) -> h 1 dh", h=n_heads) for b in (b_k, b_v))
    q = rearrange(F.linear(x[:, 0], w_q, b_q), "B (h dh) -> h B dh", h=n_heads) * w_k.shape[1] ** -0.5
    scores = rearrange(q @ w_k, "h B D -> B h D") @ x.transpose(1, 2)  # (B, h, T)
    scores = scores + rearrange(q * b_k, "h B dh -> B h dh").sum(-1, keepdim=True)  # (B, h, T)
    mix = scores.softmax(dim=-1) @ x  # (B, h, D)
    heads = rearrange(mix, "B h D -> h B D") @ w_v.transpose(1, 2) + b_v  # (h, B, dh)
    mixed = block.attention.out(rearrange(heads, "h B dh -> B 1 (h dh)"))  # (B, 1, D)
    cls = cls + F.dropout(mixed, dropout, block.training)
    output: Tensor = cls + block.mlp(block.norm2(cls))
    return output


# Where they fit


def _copy(model: nn.Module) -> Any:
    """A copy of the modules that shares their parameters and buffers. Raises ValueError when these copy themselves."""
    shared = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    if [*map(id, copied.parameters()), *map(id, copied.buffers())] != [*map(id, shared)]:
        raise ValueError("a copy with parameters of its own")
    return copied


def _ways(part: Any, n_heads: int, dropout: float) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """What a part may compute instead, and which part that is, judged by the names of the course's contract."""
    held = {name for name, _ in part.named_parameters()}
    if held == {"weight", "bias"} and part.weight.ndim == 1 and type(part) is not nn.LayerNorm:
        for eps in dict.fromkeys([getattr(part, "eps", 1e-6), 1e-6, 1e-5]):
            yield "norms", partial(norm, eps=eps)
    elif held == {"qkv.weight", "qkv.bias", "out.weight", "out.bias"}:
        yield "attention", partial(attention, n_heads=n_heads)
    elif held == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}:
        yield "GELU", partial(mlp, dropout=dropout)
    elif held == {"projection.weight", "projection.bias"} and isinstance(part.projection, nn.Conv2d):
        yield "patches", patches


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
def _without_chance(device: torch.device) -> Iterator[None]:
    """Dropout as a pattern along the width, which shows where it stands and at which rate; all products in float32.

    Chance of another kind draws what the run will draw again.
    """

    def pattern(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * (1 - p * torch.arange(x.shape[-1], device=x.device).cos()) if training else x

    dropout, precision = F.dropout, torch.get_float32_matmul_precision()
    F.dropout = pattern  # type: ignore[assignment]
    torch.set_float32_matmul_precision("highest")
    try:
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with torch.backends.cudnn.flags(allow_tf32=False), forked:
            yield
    finally:
        F.dropout = dropout
        torch.set_float32_matmul_precision(precision)


def _taken(
    part: Any, way: Callable[..., Tensor], whole: nn.Module, example: Tensor, expected: list[Tensor] | None
) -> bool:
    """Let a part compute in this way, if what the whole that it is in then gives is as expected."""
    before = type(part)
    # By its class and not by an attribute, which would hold the part that holds it, and with it a model's memory.
    part.__class__ = type(before.__name__, (before,), {"forward": lambda self, x: way(self, x)})
    if _same(expected, _outcome(whole, example)):
        return True
    part.__class__ = before
    return False


def _outcome(module: nn.Module, example: Tensor) -> list[Tensor] | None:
    """The output in evaluation and in training, and the gradient of each parameter; None where there are none."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        outputs = [module.train(training)(example) for training in (False, True)]
        weights = torch.arange(outputs[1].numel(), device=example.device).cos().view_as(outputs[1])
        gradients = torch.autograd.grad((outputs[1] * weights).sum(), learned, materialize_grads=True)
        return [output.detach() for output in outputs] + list(gradients)
    except Exception:  # whatever a model of another build raises with another part in it
        return None
    finally:
        for part, was_training in modes:
            part.training = was_training
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _same(expected: list[Tensor] | None, found: list[Tensor] | None) -> bool:
    """Equal but for rounding: a ten thousandth of the largest number, and of 0.1 where all are nearly 0."""
    if not expected or not found:
        return False
    return all(
        one.shape == other.shape and (one - other).abs().max() <= 1e-4 * max(float(one.abs().max()), 0.1)
        for one, other in zip(expected, found, strict=True)
    )
