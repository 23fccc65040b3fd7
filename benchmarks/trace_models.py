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

from benchmarks.shared import keep
from vitcourse.trace import Trace, trace


@dataclass
class Subject:
    """A model, and what it is called with at two sizes."""

    name: str
    make: Callable[[], nn.Module]
    names: str
    inputs: tuple[tuple[int, ...], tuple[int, ...]]
    below: int = 0

    def at(self, place: int) -> torch.Tensor:
        """The input at one of the two sizes."""
        shape = self.inputs[place]
        return torch.randint(self.below, shape) if self.below else torch.rand(shape)


def images(height: int, width: int, other: tuple[int, int] | None = None) -> Any:
    """Two batches of images, of one size or of two."""
    return (2, 3, height, width), (3, 3, *(other or (height, width)))


def subjects() -> Iterator[Subject]:
    """Small models of every family, with all sizes unlike where the model allows it."""
    import timm
    import torchvision.models as tv
    import transformers as tf
    import vit_pytorch as vp

    image, fixed = "B C H W", images(48, 48)
    yield Subject("torchvision ViT", lambda: tv.VisionTransformer(48, 8, 2, 5, 60, 52, num_classes=11), image, fixed)
    yield Subject("torchvision Swin", lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [3, 3]), image,
                  images(48, 96, (52, 84)))  # fmt: skip
    yield Subject("torchvision ResNet-18", lambda: tv.resnet18(num_classes=11), image, images(64, 96, (75, 50)))
    yield Subject(
        "torchvision MaxViT", lambda: tv.MaxVit((64, 64), 12, 4, [12, 20], [1, 1], 4, 0.0), image, images(64, 64)
    )
    yield Subject("torchvision ConvNeXt", lambda: tv.convnext_tiny(num_classes=11), image, images(64, 96, (96, 70)))
    yield Subject("timm ViT", lambda: timm.models.VisionTransformer((32, 48), 8, 3, 11, embed_dim=60, depth=2,
                  num_heads=5), image, images(32, 48))  # fmt: skip
    yield Subject("timm Swin", lambda: timm.models.SwinTransformer(56, 4, 3, 11, embed_dim=24, depths=(2, 2),
                  num_heads=(2, 4), window_size=7), image, images(56, 56))  # fmt: skip
    yield Subject("timm MLP-Mixer", lambda: timm.models.MlpMixer(11, 32, patch_size=8, num_blocks=2, embed_dim=60),
                  image, images(32, 32))  # fmt: skip
    yield Subject("vit-pytorch ViT", lambda: vp.ViT(image_size=(32, 48), patch_size=8, num_classes=11, dim=60, depth=2,
                  heads=5, dim_head=12, mlp_dim=52), image, images(32, 48))  # fmt: skip
    yield Subject("transformers ViT", lambda: tf.ViTModel(tf.ViTConfig(hidden_size=60, num_hidden_layers=2,
                  num_attention_heads=5, intermediate_size=52, image_size=48, patch_size=8)),
                  image, fixed)  # fmt: skip
    yield Subject("transformers Swin", lambda: tf.SwinModel(tf.SwinConfig(image_size=48, patch_size=4,
                  embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=3)), image,
                  images(48, 48))  # fmt: skip
    yield Subject(
        "transformers BERT",
        lambda: tf.BertModel(
            tf.BertConfig(
                vocab_size=101, hidden_size=60, num_hidden_layers=2, num_attention_heads=5, intermediate_size=52
            )
        ),
        "B T",
        ((2, 7), (3, 11)),
        101,
    )
    yield Subject(
        "transformers GPT-2",
        lambda: tf.GPT2Model(tf.GPT2Config(vocab_size=101, n_positions=64, n_embd=60, n_layer=2, n_head=5)),
        "B T",
        ((2, 7), (3, 11)),
        101,
    )


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
        row = rows[-1]
        print(f"{row['model']:24} {row['named']:5} of {row['axes']:5}  {row['named'] / max(row['axes'], 1):4.0%}  "
              f"{row['runs']} runs  {'' if row['same_result'] else 'other result  '}{row['error'] or ''}"
              f"{row['contradictions'][:3] or ''}")  # fmt: skip
    share = sum(row["named"] / row["axes"] for row in rows if row["axes"]) / len(rows)
    print(f"{'mean':24} {share:.0%}")
    what = "other people's models traced at two sizes: axes with a name, and whether each name holds at both"
    keep("trace_models", what, models=rows, mean_share=round(share, 3))


if __name__ == "__main__":
    main()
