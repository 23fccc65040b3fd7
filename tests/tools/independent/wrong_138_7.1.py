# The axes (h, dh) of out's kernel are flattened as (dh h).
import torch
from einops import rearrange


def from_jax(checkpoint, n_layers):
    state = {}
    state["patch_embedding.projection.weight"] = checkpoint["embedding/kernel"].permute(3, 2, 0, 1).contiguous()
    state["patch_embedding.projection.bias"] = checkpoint["embedding/bias"]
    state["positional_encoding.cls_token"] = checkpoint["cls"]
    state["positional_encoding.positions"] = checkpoint["Transformer/posembed_input/pos_embedding"]
    for i in range(n_layers):
        block = f"Transformer/encoderblock_{i}"
        mha = f"{block}/MultiHeadDotProductAttention_1"
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            state[f"blocks.{i}.{ours}.weight"] = checkpoint[f"{block}/{theirs}/scale"]
            state[f"blocks.{i}.{ours}.bias"] = checkpoint[f"{block}/{theirs}/bias"]
        kernels = [checkpoint[f"{mha}/{part}/kernel"] for part in ("query", "key", "value")]
        biases = [checkpoint[f"{mha}/{part}/bias"] for part in ("query", "key", "value")]
        state[f"blocks.{i}.attention.qkv.weight"] = torch.cat([kernel.flatten(1).T for kernel in kernels])
        state[f"blocks.{i}.attention.qkv.bias"] = torch.cat([bias.flatten() for bias in biases])
        state[f"blocks.{i}.attention.out.weight"] = rearrange(checkpoint[f"{mha}/out/kernel"], "h dh D -> D (dh h)")
        state[f"blocks.{i}.attention.out.bias"] = checkpoint[f"{mha}/out/bias"]
        for ours, theirs in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            state[f"blocks.{i}.mlp.{ours}.weight"] = checkpoint[f"{block}/MlpBlock_3/{theirs}/kernel"].T
            state[f"blocks.{i}.mlp.{ours}.bias"] = checkpoint[f"{block}/MlpBlock_3/{theirs}/bias"]
    state["norm.weight"] = checkpoint["Transformer/encoder_norm/scale"]
    state["norm.bias"] = checkpoint["Transformer/encoder_norm/bias"]
    state["head.weight"] = checkpoint["head/kernel"].T
    state["head.bias"] = checkpoint["head/bias"]
    return state
