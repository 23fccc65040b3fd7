# Walks over the checkpoint's keys and renames with a table, einops for the layouts.
import torch
from einops import rearrange


def from_jax(checkpoint, n_layers):
    kinds = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    state = {
        "positional_encoding.cls_token": checkpoint["cls"].clone(),
        "positional_encoding.positions": checkpoint["Transformer/posembed_input/pos_embedding"].clone(),
    }

    def put(target, source):
        for theirs, ours in kinds.items():
            key = f"{source}/{theirs}"
            if key not in checkpoint:
                continue
            value = checkpoint[key]
            if theirs == "kernel":
                match value.dim():
                    case 2:
                        value = rearrange(value, "i o -> o i")
                    case 3:
                        value = rearrange(value, "h dh o -> o (h dh)")
                    case 4:
                        value = rearrange(value, "p q c o -> o c p q")
            state[f"{target}.{ours}"] = value

    put("patch_embedding.projection", "embedding")
    put("norm", "Transformer/encoder_norm")
    put("head", "head")
    for i in range(n_layers):
        theirs, ours = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        put(f"{ours}.norm1", f"{theirs}/LayerNorm_0")
        put(f"{ours}.norm2", f"{theirs}/LayerNorm_2")
        put(f"{ours}.mlp.fc1", f"{theirs}/MlpBlock_3/Dense_0")
        put(f"{ours}.mlp.fc2", f"{theirs}/MlpBlock_3/Dense_1")
        heads = f"{theirs}/MultiHeadDotProductAttention_1"
        put(f"{ours}.attention.out", f"{heads}/out")
        names = ["query", "key", "value"]
        weight = torch.stack([checkpoint[f"{heads}/{name}/kernel"] for name in names])
        bias = torch.stack([checkpoint[f"{heads}/{name}/bias"] for name in names])
        state[f"{ours}.attention.qkv.weight"] = rearrange(weight, "three d h dh -> (three h dh) d")
        state[f"{ours}.attention.qkv.bias"] = rearrange(bias, "three h dh -> (three h dh)")
    return state
