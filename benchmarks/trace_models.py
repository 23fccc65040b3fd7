"""Other people's models, traced at two sizes: every printed name evaluated at both; into results/trace_models.json.

In the course's folder, with uv sync --group bench, type: python benchmarks/trace_models.py
"""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from benchmarks.shared import keep, show
from vitcourse.trace import Trace, trace

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def images(height: int, width: int, other: tuple[int, int] | None = None) -> Shapes:
    """Two batches of images, of one size or of two."""
    return (2, 3, height, width), (3, 3, *(other or (height, width)))


WORDS: Shapes = (2, 7), (3, 11)


@dataclass
class Subject:
    """A model, and what it is called with at two sizes: images, or numbers of a vocabulary's words."""

    name: str
    make: Callable[[], nn.Module]
    shapes: Shapes = images(48, 48)  # noqa: RUF009

    @property
    def names(self) -> str:
        """The axes of what it is called with."""
        return "B T" if self.shapes is WORDS else "B C H W"

    def at(self, place: int) -> torch.Tensor:
        """The input at one of the two sizes."""
        shape = self.shapes[place]
        return torch.randint(VOCABULARY, shape) if self.shapes is WORDS else torch.rand(shape)


VOCABULARY = 101


def subjects() -> Iterator[Subject]:
    """Small models of every family, with all sizes unlike where the model allows it."""
    import timm.models as tm
    import torchvision.models as tv
    import transformers as tf
    from vit_pytorch import ViT

    swin = images(48, 96, (52, 84))
    yield Subject("torchvision ViT", lambda: tv.VisionTransformer(48, 8, 2, 5, 60, 52, num_classes=11))
    yield Subject("torchvision Swin", lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [3, 3]), swin)
    yield Subject("torchvision ResNet-18", lambda: tv.resnet18(num_classes=11), images(64, 96, (75, 50)))
    yield Subject("torchvision MaxViT", lambda: tv.MaxVit((64, 64), 12, 4, [12, 20], [1, 1], 4, 0.0), images(64, 64))
    yield Subject("torchvision ConvNeXt", lambda: tv.convnext_tiny(num_classes=11), images(64, 96, (96, 70)))

    small = {"num_classes": 11, "patch_size": 8}
    heads = {"depths": (2, 2), "num_heads": (2, 4), "window_size": 7, "embed_dim": 24}
    vit = {"embed_dim": 60, "depth": 2, "num_heads": 5}
    yield Subject("timm ViT", lambda: tm.VisionTransformer((32, 48), **small, **vit), images(32, 48))
    yield Subject("timm Swin", lambda: tm.SwinTransformer(56, 4, 3, 11, **heads), images(56, 56))
    mixer = {"img_size": 32, "num_blocks": 2, "embed_dim": 60}
    yield Subject("timm MLP-Mixer", lambda: tm.MlpMixer(**mixer, **small), images(32, 32))
    vit = {"image_size": (32, 48), "dim": 60, "depth": 2, "heads": 5, "dim_head": 12, "mlp_dim": 52}
    yield Subject("vit-pytorch ViT", lambda: ViT(**vit, **small), images(32, 48))

    small = {"hidden_size": 60, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 52}
    heads = {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 3}
    gpt = {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": 60, "n_layer": 2, "n_head": 5}
    yield Subject("transformers ViT", lambda: tf.ViTModel(tf.ViTConfig(**small, image_size=48, patch_size=8)))
    yield Subject("transformers Swin", lambda: tf.SwinModel(tf.SwinConfig(image_size=48, patch_size=4, **heads)))
    yield Subject("transformers BERT", lambda: tf.BertModel(tf.BertConfig(**small, vocab_size=VOCABULARY)), WORDS)
    yield Subject("transformers GPT-2", lambda: tf.GPT2Model(tf.GPT2Config(**gpt)), WORDS)


def value(name: str, sizes: dict[str, int]) -> Any:
    """What a printed name comes to at some sizes; None where a symbol of it has none."""
    text = name.replace("·", "*").replace("⌈", "ceil(").replace("⌉", ")")
    words = re.findall(r"[^\W\d]\w*'*", text)
    if any(word != "ceil" and word not in sizes for word in words):
        return None
    text = re.sub(r"[^\W\d]\w*'*", lambda m: m[0] if m[0] == "ceil" else f"size[{m[0]!r}]", text)
    text = re.sub(r"(?<![\w'])(\d+)", r"whole(\1)", text)
    return eval(text, {"ceil": ceil, "whole": Fraction, "size": {k: Fraction(v) for k, v in sizes.items()}})


def axes(traced: Trace) -> list[Any]:
    """Every axis of every row."""
    return [axis for row in traced.steps for shape in row.shapes for axis in shape]


def contradictions(one: Trace, other: Trace) -> list[str]:
    """The names of one trace that are false in it, or for the same axis in the other."""
    bad = []
    both = [{a.name: a.size for a in axes(t) if a.name and re.fullmatch(r"[^\W\d]\w*'*", a.name)} for t in (one, other)]
    for row, same in zip(one.steps, other.steps, strict=len(one.steps) == len(other.steps)):
        if row.expression == same.expression and [len(s) for s in row.shapes] == [len(s) for s in same.shapes]:
            for shape, there in zip(row.shapes, same.shapes, strict=True):
                for a, b in zip(shape, there, strict=True):
                    for axis, sizes in ((a, both[0]), (b, both[1])):
                        if a.name and value(a.name, sizes) not in (None, axis.size):
                            bad.append(f"{row.expression}: {a} comes to {value(a.name, sizes)}, it is {axis.size}")
    return bad


def looked_at(subject: Subject) -> dict[str, Any]:
    """What tracing a model gives: whether all is true, and how many of its axes have a name."""
    torch.manual_seed(0)
    model = subject.make().eval()
    inputs = [subject.at(place) for place in (0, 1)]
    with torch.no_grad():
        plain = [model(x) for x in inputs]
        one, two = (trace(model, x, names=subject.names) for x in inputs)
    expected, found = (list(filter(torch.is_tensor, tree_leaves(r))) for r in (plain, [one.result, two.result]))
    same = len(expected) == len(found) and all(map(torch.equal, expected, found))
    wide = [axis for axis in axes(one) if axis.size != 1]
    return {
        "model": subject.name,
        "error": repr(one.error or two.error) if one.error or two.error else None,
        "same_result": same,
        "contradictions": contradictions(one, two) + contradictions(two, one),
        "axes": len(wide),
        "named": sum(axis.name is not None for axis in wide),
        "runs": getattr(one, "runs", 1),
    }


def main() -> None:
    """Trace all of them; print and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for subject in subjects():
        rows.append(looked_at(subject))
        print(rows[-1])
    show(rows)
    share = sum(row["named"] / row["axes"] for row in rows if row["axes"]) / len(rows)
    what = "other people's models traced at two sizes: axes with a name, and whether each name holds at both"
    keep("trace_models", what, models=rows, mean_share=round(share, 3))


if __name__ == "__main__":
    main()
