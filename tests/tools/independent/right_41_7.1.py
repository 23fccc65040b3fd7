# A table of regular expressions; the rule for the layout goes by the number of axes and by the last word of the key.
import re


def from_jax(checkpoint, n_layers):
    names = {
        r"cls": "positional_encoding.cls_token",
        r"embedding/(kernel|bias)": r"patch_embedding.projection.\1",
        r"Transformer/posembed_input/pos_embedding": "positional_encoding.positions",
        r"Transformer/encoder_norm/(scale|bias)": r"norm.\1",
        r"head/(kernel|bias)": r"head.\1",
        r"Transformer/encoderblock_(\d+)/LayerNorm_0/(scale|bias)": r"blocks.\1.norm1.\2",
        r"Transformer/encoderblock_(\d+)/LayerNorm_2/(scale|bias)": r"blocks.\1.norm2.\2",
        r"Transformer/encoderblock_(\d+)/MlpBlock_3/Dense_0/(kernel|bias)": r"blocks.\1.mlp.fc1.\2",
        r"Transformer/encoderblock_(\d+)/MlpBlock_3/Dense_1/(kernel|bias)": r"blocks.\1.mlp.fc2.\2",
        r"Transformer/encoderblock_(\d+)/MultiHeadDotProductAttention_1/(query|key|value|out)/(kernel|bias)":
            r"blocks.\1.attention.\2.\3",
    }
    state = {}
    for key, tensor in checkpoint.items():
        for pattern, name in names.items():
            match = re.fullmatch(pattern, key)
            if match is None:
                continue
            ours = match.expand(name).replace("kernel", "weight").replace("scale", "weight")
            if ours.startswith("blocks.") and int(ours.split(".")[1]) >= n_layers:
                continue
            if key.endswith("kernel"):
                if tensor.dim() == 4:
                    tensor = tensor.permute(3, 2, 0, 1)
                elif tensor.dim() == 3 and "/out/" in key:
                    tensor = tensor.flatten(0, 1).t()
                elif tensor.dim() == 3:
                    tensor = tensor.flatten(1).t()
                else:
                    tensor = tensor.t()
            elif tensor.dim() == 2:
                tensor = tensor.flatten()
            state[ours] = tensor
    for i in range(n_layers):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"blocks.{i}.attention.{name}.{kind}") for name in ("query", "key", "value")]
            state[f"blocks.{i}.attention.qkv.{kind}"] = torch.cat(parts)
    return state
