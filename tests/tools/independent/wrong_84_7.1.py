# The convolution's kernel goes to (D, C, W, H): rows and columns of a patch are exchanged, and it loads all the same.
def from_jax(checkpoint, n_layers):
    state = {
        "patch_embedding.projection.weight": checkpoint["embedding/kernel"].permute(3, 2, 1, 0),
        "patch_embedding.projection.bias": checkpoint["embedding/bias"],
        "positional_encoding.cls_token": checkpoint["cls"],
        "positional_encoding.positions": checkpoint["Transformer/posembed_input/pos_embedding"],
        "norm.weight": checkpoint["Transformer/encoder_norm/scale"],
        "norm.bias": checkpoint["Transformer/encoder_norm/bias"],
        "head.weight": checkpoint["head/kernel"].T,
        "head.bias": checkpoint["head/bias"],
    }
    for i in range(n_layers):
        t, o = f"Transformer/encoderblock_{i}", f"blocks.{i}"
        a = f"{t}/MultiHeadDotProductAttention_1"
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            state[f"{o}.{ours}.weight"] = checkpoint[f"{t}/{theirs}/scale"]
            state[f"{o}.{ours}.bias"] = checkpoint[f"{t}/{theirs}/bias"]
        for ours, theirs in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            state[f"{o}.mlp.{ours}.weight"] = checkpoint[f"{t}/MlpBlock_3/{theirs}/kernel"].T
            state[f"{o}.mlp.{ours}.bias"] = checkpoint[f"{t}/MlpBlock_3/{theirs}/bias"]
        parts = ("query", "key", "value")
        state[f"{o}.attention.qkv.weight"] = torch.cat([checkpoint[f"{a}/{n}/kernel"].flatten(1).T for n in parts])
        state[f"{o}.attention.qkv.bias"] = torch.cat([checkpoint[f"{a}/{n}/bias"].flatten() for n in parts])
        state[f"{o}.attention.out.weight"] = checkpoint[f"{a}/out/kernel"].flatten(0, 1).T
        state[f"{o}.attention.out.bias"] = checkpoint[f"{a}/out/bias"]
    return state
