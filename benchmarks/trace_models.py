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

from benchmarks.shared import RESULTS, keep, show
from vitcourse.files import read_json
from vitcourse.trace import Trace, build, trace

Shapes = tuple[tuple[int, ...], tuple[int, ...]]


def images(height: int, width: int, other: tuple[int, int] | None = None) -> Shapes:
    """Two batches of images, of one size or of two."""
    return (2, 3, height, width), (3, 3, *(other or (height, width)))


# A symbol, or one of the numbers in a list: widths[1].
WORD = r"[^\W\d]\w*'*(?:\[\d+\])*"
WORDS: Shapes = (2, 7), (3, 11)


@dataclass
class Subject:
    """A model, what it is made with, and what it is called with at two sizes: images, or numbers of words."""

    name: str
    kind: Callable[..., nn.Module]
    made_with: dict[str, Any]
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


def configured(kind: Callable[..., nn.Module], config: Callable[..., Any]) -> Callable[..., nn.Module]:
    """A model that is made from a config object, as a function of what the config is made of."""
    return lambda **settings: kind(config(**settings))


def subjects() -> Iterator[Subject]:
    """Small models of every family, with all sizes unlike where the model allows it."""
    import timm.models as tm
    import torchvision.models as tv
    import transformers as tf
    from vit_pytorch import ViT

    wide, swin = images(64, 96, (75, 50)), images(48, 96, (52, 84))
    eleven = {"num_classes": 11}
    vit = {"image_size": 48, "patch_size": 8, "num_layers": 2, "num_heads": 5, "hidden_dim": 60, "mlp_dim": 52}
    yield Subject("torchvision ViT", tv.VisionTransformer, vit | eleven)
    heads = {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4]}
    yield Subject("torchvision Swin", tv.SwinTransformer, {"patch_size": [4, 4], **heads, "window_size": [3, 3]}, swin)
    yield Subject("torchvision ResNet-18", tv.resnet18, eleven, wide)
    maxvit = {"input_size": (64, 64), "stem_channels": 12, "partition_size": 4, "block_channels": [12, 20]}
    maxvit |= {"block_layers": [1, 1], "head_dim": 4, "stochastic_depth_prob": 0.0}
    yield Subject("torchvision MaxViT", tv.MaxVit, maxvit, images(64, 64))
    yield Subject("torchvision ConvNeXt", tv.convnext_tiny, eleven, images(64, 96, (96, 70)))

    small = {"patch_size": 8, **eleven}
    vit = {"img_size": (32, 48), "embed_dim": 60, "depth": 2, "num_heads": 5}
    yield Subject("timm ViT", tm.VisionTransformer, small | vit, images(32, 48))
    swin_timm = {"img_size": 56, "patch_size": 4, **eleven, **heads, "window_size": 7}
    yield Subject("timm Swin", tm.SwinTransformer, swin_timm, images(56, 56))
    mixer = {"img_size": 32, "num_blocks": 2, "embed_dim": 60}
    yield Subject("timm MLP-Mixer", tm.MlpMixer, mixer | small, images(32, 32))
    vit = {"image_size": (32, 48), "dim": 60, "depth": 2, "heads": 5, "dim_head": 12, "mlp_dim": 52}
    yield Subject("vit-pytorch ViT", ViT, vit | small, images(32, 48))

    small = {"hidden_size": 60, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 52}
    image = {"image_size": 48, "patch_size": 8}
    yield Subject("transformers ViT", configured(tf.ViTModel, tf.ViTConfig), small | image)
    image = {"image_size": 48, "patch_size": 4, **heads, "window_size": 3}
    yield Subject("transformers Swin", configured(tf.SwinModel, tf.SwinConfig), image)
    words = {"vocab_size": VOCABULARY}
    yield Subject("transformers BERT", configured(tf.BertModel, tf.BertConfig), small | words, WORDS)
    gpt = {"n_positions": 64, "n_embd": 60, "n_layer": 2, "n_head": 5}
    yield Subject("transformers GPT-2", configured(tf.GPT2Model, tf.GPT2Config), gpt | words, WORDS)


def value(name: str, sizes: dict[str, int]) -> Any:
    """What a printed name comes to at some sizes; None where a symbol of it has none."""
    text = name.replace("·", "*").replace("⌈", "ceil(").replace("⌉", ")")
    words = re.findall(WORD, text)
    if any(word != "ceil" and word not in sizes for word in words):
        return None
    text = re.sub(WORD, lambda m: m[0] if m[0] == "ceil" else f"size[{m[0]!r}]", text)
    text = re.sub(r"(?<![\w'\[])(\d+)", r"whole(\1)", text)
    return eval(text, {"ceil": ceil, "whole": Fraction, "size": {k: Fraction(v) for k, v in sizes.items()}})


def axes(traced: Trace) -> list[Any]:
    """Every axis of every row."""
    return [axis for row in traced.steps for shape in row.shapes for axis in shape]


def contradictions(one: Trace, other: Trace) -> list[str]:
    """The names of one trace that are false in it, or for the same axis in the other."""
    bad = []
    both = [{a.name: a.size for a in axes(t) if a.name and re.fullmatch(WORD, a.name)} for t in (one, other)]
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
    model = subject.kind(**subject.made_with).eval()
    inputs = [subject.at(place) for place in (0, 1)]
    with torch.no_grad():
        plain = [model(x) for x in inputs]
        one, two = (trace(model, x, names=subject.names) for x in inputs)
        anew = named(trace(build(subject.kind, **subject.made_with).eval(), inputs[0], names=subject.names))
    expected, found = (list(filter(torch.is_tensor, tree_leaves(r))) for r in (plain, [one.result, two.result]))
    same = len(expected) == len(found) and all(map(torch.equal, expected, found))
    wide, known = named(one)
    return {
        "model": subject.name,
        "error": repr(one.error or two.error) if one.error or two.error else None,
        "same_result": same,
        "contradictions": contradictions(one, two) + contradictions(two, one),
        "axes": wide,
        "named": known,
        "runs": one.runs,
        "made_anew": {"axes": anew[0], "named": anew[1]},
    }


def named(traced: Trace) -> tuple[int, int]:
    """How many axes there are that aren't 1, and how many of them have a name."""
    wide = [axis for axis in axes(traced) if axis.size != 1]
    return len(wide), sum(axis.name is not None for axis in wide)


WHAT = (
    "other people's models traced at two sizes: how many axes have a name, of those that aren't 1, and whether each "
    "name holds at both sizes; a finished model, and one that build makes, so that it can be made anew. before: a "
    "finished model by the tracer of 2026-11-23 (commit cfacd81), which had a rule for each operation, asked by this "
    "script"
)


def main() -> None:
    """Trace all of them; print and write the table. What the earlier tracer named stays."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    before = {row["model"]: row["before"] for row in read_json(RESULTS / "trace_models.json").get("models", ())}
    rows = []
    for subject in subjects():
        rows.append(looked_at(subject) | {"before": before.get(subject.name)})
        print(rows[-1])
    show(rows)
    share = sum(row["named"] / row["axes"] for row in rows if row["axes"]) / len(rows)
    keep("trace_models", WHAT, models=rows, mean_share=round(share, 3))


if __name__ == "__main__":
    main()
