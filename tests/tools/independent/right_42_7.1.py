# An OrderedDict of contiguous copies, through numpy on the way.
from collections import OrderedDict

import numpy as np


def from_jax(checkpoint, n_layers):
    arrays = {k: v.numpy() for k, v in checkpoint.items()}
    d = arrays["cls"].shape[-1]
    out = OrderedDict()

    def put(name, array):
        out[name] = torch.from_numpy(np.array(array, copy=True))

    put("head.bias", arrays["head/bias"])
    put("head.weight", arrays["head/kernel"].transpose())
    put("norm.bias", arrays["Transformer/encoder_norm/bias"])
    put("norm.weight", arrays["Transformer/encoder_norm/scale"])
    for i in reversed(range(n_layers)):
        a = "Transformer/encoderblock_%d/" % i
        b = "blocks.%d." % i
        m = a + "MultiHeadDotProductAttention_1/"
        put(b + "attention.qkv.weight", np.concatenate([arrays[m + n + "/kernel"].reshape(d, d).T for n in ["query", "key", "value"]]))
        put(b + "attention.qkv.bias", np.stack([arrays[m + n + "/bias"] for n in ["query", "key", "value"]]).ravel())
        put(b + "attention.out.weight", arrays[m + "out/kernel"].reshape(d, d).T)
        put(b + "attention.out.bias", arrays[m + "out/bias"])
        put(b + "mlp.fc1.weight", arrays[a + "MlpBlock_3/Dense_0/kernel"].T)
        put(b + "mlp.fc1.bias", arrays[a + "MlpBlock_3/Dense_0/bias"])
        put(b + "mlp.fc2.weight", arrays[a + "MlpBlock_3/Dense_1/kernel"].T)
        put(b + "mlp.fc2.bias", arrays[a + "MlpBlock_3/Dense_1/bias"])
        put(b + "norm1.weight", arrays[a + "LayerNorm_0/scale"])
        put(b + "norm1.bias", arrays[a + "LayerNorm_0/bias"])
        put(b + "norm2.weight", arrays[a + "LayerNorm_2/scale"])
        put(b + "norm2.bias", arrays[a + "LayerNorm_2/bias"])
    put("positional_encoding.positions", arrays["Transformer/posembed_input/pos_embedding"])
    put("positional_encoding.cls_token", arrays["cls"])
    put("patch_embedding.projection.weight", np.einsum("pqcd->dcpq", arrays["embedding/kernel"]))
    put("patch_embedding.projection.bias", arrays["embedding/bias"])
    return out
