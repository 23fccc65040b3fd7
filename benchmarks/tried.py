"""What was tried to make a step faster still: each change beside train's default, in turns; into results/tried.json.

In the course's folder, type: python benchmarks/tried.py
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import typer
from contenders import CONTENDERS, SIZES, Size, ours_fused
from einops import rearrange
from shared import RESULTS, keep, show
from throughput import beside, prepare, race
from torch import Tensor, nn

from vitcourse.training import kernels

OURS = kernels.attention


def three_products(part: Any, x: Tensor, *, n_heads: int) -> Tensor:
    """Queries, keys and values by a product each, in place of one for all three."""
    weights, biases = part.qkv.weight.chunk(3), part.qkv.bias.chunk(3)
    projected = (F.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
    q, k, v = (rearrange(each, "B T (h dh) -> B h T dh", h=n_heads) for each in projected)
    mixed: Tensor = part.out(rearrange(kernels.attend(q, k, v), "B h T dh -> B T (h dh)"))
    return mixed


def padded(part: Any, x: Tensor, *, n_heads: int, multiple: int = 8) -> Tensor:
    """Attention over tokens that are filled up to a multiple of 8; those that were added are looked at by nobody."""
    tokens = x.shape[1]
    more = -tokens % multiple
    q, k, v = rearrange(part.qkv(x), "B T (three h dh) -> three B h T dh", three=3, h=n_heads)
    q, k, v = (F.pad(each, (0, 0, 0, more)) for each in (q * q.shape[-1] ** -0.5, k, v))
    nobody = F.pad(x.new_zeros(tokens), (0, more), value=-torch.inf)
    mix = ((q @ k.transpose(-2, -1) + nobody).softmax(dim=-1) @ v)[:, :, :tokens]
    mixed: Tensor = part.out(rearrange(mix, "B h T dh -> B T (h dh)"))
    return mixed


def fused(size: Size, attention: Callable[..., Tensor] = OURS) -> nn.Module:
    """What train computes, with another attention, which is tried for equality as ours is."""
    kernels.attention = attention
    try:
        return ours_fused(size)
    finally:
        kernels.attention = OURS


# What train computes, but for the patches: those by the convolution that the chapter writes.
convolved = partial(ours_fused, parts=[part for part in kernels.PARTS if part != "patches"])
WAYS: dict[str, Callable[[Size], nn.Module]] = {
    "train's default": fused,
    "queries, keys and values by three products": partial(fused, attention=three_products),
    "tokens filled up to a multiple of 8 in attention": partial(fused, attention=padded),
    "patches by the convolution": convolved,
    "patches by the convolution, channels last": lambda size: convolved(size).to(memory_format=torch.channels_last),
}


def main(rounds: int = 15, output: Path = RESULTS / "tried.json") -> None:
    """Measure them in turns; print and write the medians of the rounds' own ratios."""
    torch.set_num_threads(1)
    size = SIZES["a"]
    images = torch.rand(size.batch_size, size.channels, size.image_size, size.image_size)
    labels = torch.randint(size.n_classes, (size.batch_size,))
    CONTENDERS.update(WAYS)
    formats = [torch.channels_last if "last" in name else torch.contiguous_format for name in WAYS]
    given = zip(WAYS, formats, strict=True)
    entries = [prepare(name, False, size, images.to(memory_format=kept), labels) for name, kept in given]
    race(entries, rounds, images.device)
    rows = [{"way": entry.name, "speed": beside(entries[0], entry, cuda=False)} for entry in entries]
    show(rows)
    what = "speed beside train's default, forward and backward, float32, one thread, size a of throughput.py; "
    what += f"medians of {rounds} rounds in turns, in CPU seconds"
    keep("tried", what, file=output, size="a", rows=rows)


if __name__ == "__main__":
    typer.run(main)
