"""What others call the parts of a Vision Transformer and how they lay out its numbers; what theirs has and ours hasn't.

In the tables of names {i} is the number of a block, {n} that of one of its two norms, and {p} is weight or bias. A name
of ours that ends in #0, #1 or #2 is a third of it: queries, keys or values.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

CLS, POSITIONS = "positional_encoding.cls_token", "positional_encoding.positions"
_PROJECTION, _QKV, _OUT = (
    "patch_embedding.projection.{p}",
    "blocks.{i}.attention.qkv.{p}",
    "blocks.{i}.attention.out.{p}",
)
_FC1, _FC2, _NORMS = "blocks.{i}.mlp.fc1.{p}", "blocks.{i}.mlp.fc2.{p}", "blocks.{i}.norm{n}.{p}"
_HOLES = {"{i}": r"(?P<i>\d+)", "{n}": r"(?P<n>[12])", "{p}": r"(?P<p>weight|bias|kernel|scale)"}


@dataclass(frozen=True)
class Family:
    """Models whose parts have the same names: how they are known, translated, and what ε their norms have."""

    name: str
    known_by: str
    names: dict[str, str]
    eps: float | None = 1e-6
    layout: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same numbers under this course's names; a name that isn't the family's stays as it is."""
        found: dict[str, Tensor] = {}
        for name, tensor in state.items():
            ours = self.our_name(name)
            found[ours] = self.layout(ours, tensor) if ours != name else tensor
        for name in [name for name in found if name.endswith("#0")]:
            whole = name[:-2]
            if all(f"{whole}#{part}" in found for part in range(3)):
                found[whole] = torch.cat([found.pop(f"{whole}#{part}") for part in range(3)])
        return found

    def our_name(self, name: str) -> str:
        """The name of one parameter in this course."""
        for theirs, ours in self.names.items():
            pattern = re.escape(theirs).replace(r"\{", "{").replace(r"\}", "}")
            for hole, expression in _HOLES.items():
                pattern = pattern.replace(hole, expression)
            found = re.fullmatch(pattern, name)
            if found:
                words = found.groupdict()
                if words.get("p") in ("kernel", "scale"):
                    words["p"] = "weight"
                return ours.format(**words)
        return name


def _from_flax(name: str, tensor: Tensor) -> Tensor:
    """Flax keeps kernels as (in, out), a convolution's as (P, P, C, D), and the heads as an axis of their own."""
    if ".qkv.bias" in name:
        return tensor.flatten()
    if ".weight" not in name or tensor.ndim < 2:
        return tensor
    if "projection" in name:
        return tensor.permute(3, 2, 0, 1)
    return (tensor.flatten(0, 1) if ".out." in name else tensor.flatten(1)).T


_HUGGING_FACE = {
    "embeddings.cls_token": CLS,
    "embeddings.position_embeddings": POSITIONS,
    "embeddings.patch_embeddings.projection.{p}": _PROJECTION,
    "layernorm.{p}": "norm.{p}",
    "classifier.{p}": "head.{p}",
    # As its files have them, and its models before version 5.
    "encoder.layer.{i}.layernorm_before.{p}": "blocks.{i}.norm1.{p}",
    "encoder.layer.{i}.layernorm_after.{p}": "blocks.{i}.norm2.{p}",
    "encoder.layer.{i}.attention.attention.query.{p}": f"{_QKV}#0",
    "encoder.layer.{i}.attention.attention.key.{p}": f"{_QKV}#1",
    "encoder.layer.{i}.attention.attention.value.{p}": f"{_QKV}#2",
    "encoder.layer.{i}.attention.output.dense.{p}": _OUT,
    "encoder.layer.{i}.intermediate.dense.{p}": _FC1,
    "encoder.layer.{i}.output.dense.{p}": _FC2,
    # As its models have them since.
    "layers.{i}.layernorm_before.{p}": "blocks.{i}.norm1.{p}",
    "layers.{i}.layernorm_after.{p}": "blocks.{i}.norm2.{p}",
    "layers.{i}.attention.q_proj.{p}": f"{_QKV}#0",
    "layers.{i}.attention.k_proj.{p}": f"{_QKV}#1",
    "layers.{i}.attention.v_proj.{p}": f"{_QKV}#2",
    "layers.{i}.attention.o_proj.{p}": _OUT,
    "layers.{i}.mlp.fc1.{p}": _FC1,
    "layers.{i}.mlp.fc2.{p}": _FC2,
}
_TORCHVISION_BLOCK = "encoder.layers.encoder_layer_{i}."
_FLAX_BLOCK = "Transformer/encoderblock_{i}/"
_FLAX_ATTENTION = f"{_FLAX_BLOCK}MultiHeadDotProductAttention_1/"

FAMILIES = (
    Family("this course", r"patch_embedding\.projection\.", {}, eps=None),
    Family(
        "torchvision",
        r"conv_proj\.|encoder\.layers\.encoder_layer_",
        {
            "class_token": CLS,
            "encoder.pos_embedding": POSITIONS,
            "conv_proj.{p}": _PROJECTION,
            f"{_TORCHVISION_BLOCK}ln_{{n}}.{{p}}": _NORMS,
            f"{_TORCHVISION_BLOCK}self_attention.in_proj_{{p}}": _QKV,
            f"{_TORCHVISION_BLOCK}self_attention.out_proj.{{p}}": _OUT,
            f"{_TORCHVISION_BLOCK}mlp.0.{{p}}": _FC1,
            f"{_TORCHVISION_BLOCK}mlp.3.{{p}}": _FC2,
            f"{_TORCHVISION_BLOCK}mlp.linear_1.{{p}}": _FC1,  # before version 0.13
            f"{_TORCHVISION_BLOCK}mlp.linear_2.{{p}}": _FC2,
            "encoder.ln.{p}": "norm.{p}",
            "heads.head.{p}": "head.{p}",
        },
    ),
    Family(
        "timm",
        r"patch_embed\.|blocks\.\d+\.attn\.",
        {
            "cls_token": CLS,
            "pos_embed": POSITIONS,
            "patch_embed.proj.{p}": _PROJECTION,
            "blocks.{i}.norm{n}.{p}": _NORMS,
            "blocks.{i}.attn.qkv.{p}": _QKV,
            "blocks.{i}.attn.proj.{p}": _OUT,
            "blocks.{i}.mlp.fc1.{p}": _FC1,
            "blocks.{i}.mlp.fc2.{p}": _FC2,
        },
    ),
    Family(
        "Hugging Face", r"embeddings\.patch_embeddings\.|(encoder\.)?layers?\.\d+\.attention\.", _HUGGING_FACE, 1e-12
    ),
    Family(
        "Google's .npz",
        r"Transformer/",
        {
            "cls": CLS,
            "Transformer/posembed_input/pos_embedding": POSITIONS,
            "embedding/{p}": _PROJECTION,
            f"{_FLAX_BLOCK}LayerNorm_0/{{p}}": "blocks.{i}.norm1.{p}",
            f"{_FLAX_BLOCK}LayerNorm_2/{{p}}": "blocks.{i}.norm2.{p}",
            f"{_FLAX_ATTENTION}query/{{p}}": f"{_QKV}#0",
            f"{_FLAX_ATTENTION}key/{{p}}": f"{_QKV}#1",
            f"{_FLAX_ATTENTION}value/{{p}}": f"{_QKV}#2",
            f"{_FLAX_ATTENTION}out/{{p}}": _OUT,
            f"{_FLAX_BLOCK}MlpBlock_3/Dense_0/{{p}}": _FC1,
            f"{_FLAX_BLOCK}MlpBlock_3/Dense_1/{{p}}": _FC2,
            "Transformer/encoder_norm/{p}": "norm.{p}",
            "head/{p}": "head.{p}",
        },
        layout=_from_flax,
    ),
)

# Parts that the model of this course doesn't have, so that the same weights would compute something else.
STRANGERS = {
    r"dist(illation)?_token|head_dist|distillation_classifier": "a second token, for distillation (DeiT, distilled)",
    r"\.ls[12]\.|layer_?scale|\.gamma_[12]|lambda_?[12]": "LayerScale, a factor on a branch (DINOv2, DeiT III, BEiT)",
    r"reg(ister)?_tokens?$": "register tokens (DINOv2 with registers, DINOv3)",
    r"norm_pre|pre_layrnorm|ln_pre": "a norm in front of the blocks (CLIP)",
    r"relative_position|rel_pos": "relative positions (BEiT, Swin)",
    r"fc_norm|attn_pool|attention_pool|MAPHead": "a head that doesn't read CLS, but all patches",
    r"[qk]_norm": "normalised queries and keys",
    r"backbone\.|root_block|conv_root": "a convolutional network in front of the patches (hybrid)",
}
# Names of models that are no relatives.
OTHERS = {
    r"to_patch_embedding\.": "vit-pytorch's, whose patch embedding has norms of its own",
    r"visual\.|vision_model\.|(embeddings\.)?(class_embedding|patch_embedding\.\w+$)": "CLIP's or SigLIP's",
    r"layers\.\d+\.(blocks|downsample)\.": "Swin's",
    r"layer1\.0\.conv1": "a ResNet's",
    r"word_embeddings": "a language model's",
}
# What may stand beside the model's parts and takes no part in its logits.
IDLE = r"(embeddings\.)?mask_token|pooler\..*|n_averaged|decoder.*|.*num_batches_tracked"
PRE_LOGITS = r"(heads\.|)pre_logits.*"
