"""Chapter 4: the checks of its exercises, and the references held against torch's and torchvision's own layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.ch04_encoder import MLP, EncoderBlock, LayerNorm, gelu
from vitcourse.checking.check import NORMS, Check
from vitcourse.checking.subjects import Module


@pytest.mark.exercise("4.1")
def test_layer_norm(check: Check) -> None:
    s = check.sizes(B=2, T=5, D=7)
    x = 3 * check.randn("B T D") + 2

    fresh = check.fresh("LayerNorm", d_model=s.D)
    norm = check.module("LayerNorm", d_model=s.D)
    check.close(fresh.values()["weight"], torch.ones(s.D), "weight should start as ones")
    check.close(fresh.values()["bias"], torch.zeros(s.D), "bias should start as zeros")
    check.shape(norm(x), "B T D", "the result")
    plain = fresh(x)
    check.close(plain.mean(-1), torch.zeros(s.B, s.T), "with weight 1 and bias 0, every token should have mean 0")
    check.close(
        plain.var(-1, correction=0),
        torch.ones(s.B, s.T),
        "with weight 1 and bias 0, every token should have variance 1 (the biased one)",
    )
    check.close(norm(x[:1, :1]), norm(x)[:1, :1], "a token should be normalised by its own features alone")

    check.same(norm, x)
    check.same(norm, 1e-3 * x)
    loose = check.module("LayerNorm", d_model=s.D, eps=0.5)
    check.same(loose, x)
    check.same(loose, 0.2 * x)
    check.same(norm, x[0, 0])
    check.same(norm, x[None])
    check.gradients(norm, x)
    check.dtypes(norm, x)
    check.in_evaluation(norm, x.flip(0))


@pytest.mark.exercise("4.2")
def test_gelu(check: Check) -> None:
    check.sizes(B=2, T=5, D=7)
    x = 2 * check.randn("B T D")
    function = check.get("gelu")

    check.shape(function(x), "B T D", "gelu(x)")
    check.close(function(torch.zeros(3)), torch.zeros(3), "gelu(0) should be 0")
    ends = torch.tensor([-30.0, 30.0])
    check.close(function(ends), torch.tensor([0.0, 30.0]), "far from 0, gelu should be 0 on the left, x on the right")
    check.close(function(x) - function(-x), x, "gelu(x) - gelu(-x) should be x")

    check.same(function, x, atol=1e-6)
    check.same(function, torch.linspace(-6, 6, 101), atol=1e-6)
    check.gradients(function, x)
    check.dtypes(function, x)


@pytest.mark.exercise("4.3")
def test_mlp(check: Check) -> None:
    s = check.sizes(B=2, T=5, D=7, ratio=3)
    x = check.randn("B T D")
    mlp = check.module("MLP", d_model=s.D, ratio=s.ratio)

    check.shape(mlp(x), "B T D", "the result")
    check.steady(mlp, x)
    check.close(mlp(x[:, 3:4]), mlp(x)[:, 3:4], "each token should be worked on alone")

    check.same(mlp, x)
    check.same(check.module("MLP", d_model=s.D), x)
    check.same(mlp, x[0])
    check.gradients(mlp, x)
    check.dtypes(mlp, x)

    s = check.sizes(B=5, T=101, D=7, ratio=3)
    x = check.randn("B T D")
    dropping = check.module("MLP", d_model=s.D, ratio=s.ratio, dropout=0.3)
    # Ones come in, every hidden number is their mean, 1, and every output the sum of the hidden ones that are left.
    hidden, width = (s.ratio * s.D, s.D), (s.D, s.ratio * s.D)
    dropping.load(fc1__weight=torch.ones(hidden) / s.D, fc1__bias=torch.zeros(hidden[0]))
    dropping.load(fc2__weight=torch.ones(width), fc2__bias=torch.zeros(s.D))
    output = dropping(torch.ones_like(x))
    check.dropped(output == 0, 0.3, "what fc2 gives")
    # What is left of a token tells how many of its hidden numbers are left, each of them GELU(1) / 0.7.
    one = float(F.gelu(torch.ones(1))) / 0.7
    left = output.amax(-1) * 0.7 / one
    left = left[left > 0]
    alike = float(left.std(correction=0)) < 0.01
    check.true(
        not (whole(left / 0.49) and not alike),  # as it is where neither dropout makes up for its share
        "in training, what dropout leaves should be divided by 1 - dropout, so that its mean stays",
    )
    check.true(
        whole(left),
        "in training, dropout should follow the GELU too, before fc2",
        "no dropout is there" if alike else "it stands at another place, before the GELU or before fc1",
    )
    dropping = check.module("MLP", d_model=s.D, ratio=s.ratio, dropout=0.3).train(False)
    check.steady(dropping, x, "in evaluation mode")
    check.same(dropping, x)


@pytest.mark.exercise("4.4")
def test_encoder_block(check: Check) -> None:
    s = check.sizes(B=4, T=5, h=3, dh=7, ratio=2)
    x = check.randn("B T D")
    arguments = {"d_model": s.D, "n_heads": s.h, "mlp_ratio": s.ratio}
    check.norms = NORMS
    block = check.module("EncoderBlock", **arguments)

    check.shape(block(x), "B T D", "the result")
    check.steady(block, x)
    silent = silence(silence(check.module("EncoderBlock", **arguments), "attention.out"), "mlp.fc2")
    check.close(
        silent(x), x, "when the last layers of both branches are zero, the block should return its input: residuals"
    )
    order = check.order("T")
    check.close(block(x[:, order]), block(x)[:, order], "when the tokens change places, so should the outputs")
    check.independent(block, x)

    check.same(block, x, **NORMS)
    check.same(check.module("EncoderBlock", d_model=s.D, n_heads=1), x, **NORMS)
    check.gradients(block, x, near=1e-3)
    check.dtypes(block, x, **NORMS)

    s = check.sizes(B=5, T=31, h=3, dh=7, ratio=2)
    x = check.randn("B T D")
    dropping = silence(check.module("EncoderBlock", **arguments, dropout=0.3), "mlp.fc2")
    check.dropped(dropping(x) == x, 0.3, "the attention branch, before its addition,")
    dropping = silence(check.module("EncoderBlock", **arguments, dropout=0.3), "attention.out")
    check.dropped(dropping(x) == x, 0.3, "the MLP's branch")
    dropping = check.module("EncoderBlock", **arguments, dropout=0.3).train(False)
    check.steady(dropping, x, "in evaluation mode")
    check.same(dropping, x, **NORMS)


def test_layer_norm_is_torchs() -> None:
    x = 3 * torch.randn(2, 5, 7) + 2
    norm = LayerNorm(7)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    for scale in (1, 1e-3):
        expected = F.layer_norm(scale * x, (7,), norm.weight, norm.bias, eps=1e-6)
        torch.testing.assert_close(norm(scale * x), expected, rtol=1e-4, atol=1e-5)
    expected = F.layer_norm(x, (7,), eps=0.5)
    torch.testing.assert_close(LayerNorm(7, eps=0.5)(x), expected, rtol=1e-4, atol=1e-5)


def test_gelu_is_torchs_exact_one() -> None:
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(gelu(x), F.gelu(x), rtol=1e-4, atol=1e-6)


def test_mlp_is_torchvisions() -> None:
    from torchvision.ops import MLP as TorchvisionMLP

    x = torch.randn(2, 5, 7)
    ours = MLP(7, ratio=3, dropout=0.3)
    theirs = TorchvisionMLP(7, [21, 7], activation_layer=nn.GELU, inplace=None, dropout=0.3)
    assert [type(layer).__name__ for layer in theirs] == ["Linear", "GELU", "Dropout", "Linear", "Dropout"]
    theirs[0].load_state_dict(ours.fc1.state_dict())
    theirs[3].load_state_dict(ours.fc2.state_dict())
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        torch.manual_seed(0)
        expected = theirs(x)
        torch.manual_seed(0)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_encoder_block_is_torchs() -> None:
    x = torch.randn(2, 5, 21)
    ours = EncoderBlock(21, 3, mlp_ratio=2)
    theirs = nn.TransformerEncoderLayer(
        21, 3, dim_feedforward=42, dropout=0.0, activation="gelu",
        layer_norm_eps=1e-6, batch_first=True, norm_first=True,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        theirs.self_attn.in_proj_weight.copy_(ours.attention.qkv.weight)
        theirs.self_attn.in_proj_bias.copy_(ours.attention.qkv.bias)
    theirs.self_attn.out_proj.load_state_dict(ours.attention.out.state_dict())
    theirs.norm1.load_state_dict(ours.norm1.state_dict())
    theirs.norm2.load_state_dict(ours.norm2.state_dict())
    theirs.linear1.load_state_dict(ours.mlp.fc1.state_dict())
    theirs.linear2.load_state_dict(ours.mlp.fc2.state_dict())
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def whole(numbers: Tensor) -> bool:
    """Whether these are whole numbers."""
    return bool(((numbers - numbers.round()).abs() < 0.01).all())


def silence(block: Module, path: str) -> Module:
    """Let a layer put out zeros."""
    weight, bias = (block.values()[f"{path}.{name}"] for name in ("weight", "bias"))
    return block.load(**{f"{path}.weight": 0 * weight, f"{path}.bias": 0 * bias})
