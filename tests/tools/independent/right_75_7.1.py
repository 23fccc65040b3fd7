# First a nested dict by splitting names at slashes; einsum for transposes.
import torch


def from_jax(checkpoint, n_layers):
    tree = {}
    for name, tensor in checkpoint.items():
        *path, leaf = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = tensor
    body = tree["Transformer"]

    def dense(prefix, node):
        return {f"{prefix}.weight": torch.einsum("io->oi", node["kernel"]), f"{prefix}.bias": node["bias"]}

    def norm(prefix, node):
        return {f"{prefix}.weight": node["scale"], f"{prefix}.bias": node["bias"]}

    new = {
        "positional_encoding.cls_token": tree["cls"],
        "positional_encoding.positions": body["posembed_input"]["pos_embedding"],
        "patch_embedding.projection.weight": torch.movedim(tree["embedding"]["kernel"], (0, 1, 2, 3), (2, 3, 1, 0)),
        "patch_embedding.projection.bias": tree["embedding"]["bias"],
        **norm("norm", body["encoder_norm"]),
        **dense("head", tree["head"]),
    }
    for i in range(n_layers):
        block = body[f"encoderblock_{i}"]
        attention = block["MultiHeadDotProductAttention_1"]
        d = attention["out"]["bias"].numel()
        qkv = {
            "kernel": torch.cat([attention[k]["kernel"].reshape(d, d) for k in ("query", "key", "value")], dim=1),
            "bias": torch.cat([attention[k]["bias"].reshape(d) for k in ("query", "key", "value")]),
        }
        out = {"kernel": attention["out"]["kernel"].reshape(d, d), "bias": attention["out"]["bias"]}
        new |= dense(f"blocks.{i}.attention.qkv", qkv) | dense(f"blocks.{i}.attention.out", out)
        new |= norm(f"blocks.{i}.norm1", block["LayerNorm_0"]) | norm(f"blocks.{i}.norm2", block["LayerNorm_2"])
        new |= dense(f"blocks.{i}.mlp.fc1", block["MlpBlock_3"]["Dense_0"])
        new |= dense(f"blocks.{i}.mlp.fc2", block["MlpBlock_3"]["Dense_1"])
    return new
