"""Chapter 1: the checks of its exercises, and the references held against torch's own unfold and convolution."""

import pytest
import torch
import torch.nn.functional as F

from solutions.ch01_patches import PatchEmbedding, conv_to_linear, patchify, unpatchify
from vitcourse.checking.check import Check


@pytest.mark.exercise("1.1")
def test_patchify(check: Check) -> None:
    s = check.sizes(B=2, C=3, P=5, gh=7, gw=11)
    images = check.randn("B C H W")
    patchify = check.get("patchify")

    patches = patchify(images, s.P)
    check.shape(patches, "B N C*P*P", "patchify(images, P)")

    corner = images[:, :, : s.P, : s.P].flatten(1)
    check.close(patches[:, 0], corner, "patch 0 should be each image's upper left corner, all channels as they are")
    first_row = images[:, :, : s.P, s.P : 2 * s.P].flatten(1)
    check.close(patches[:, 1], first_row, "patch 1 should be the second patch of the image's first row")
    second_row = images[:, :, s.P : 2 * s.P, : s.P].flatten(1)
    check.close(patches[:, s.gw], second_row, "patch gw should be the first patch of the image's second row")
    unpatchify = check.solved("ch01_patches", "unpatchify")
    restored = unpatchify(patches, s.P, (s.gh, s.gw), s.C)
    check.close(restored, images, "cutting into patches should lose nothing and move no pixel out of its patch")

    check.same(patchify, images, s.P)
    check.same(patchify, images[:1, :1], s.P)
    check.gradients(patchify, images, s.P)
    check.dtypes(patchify, images, s.P)
    check.raises(patchify, images[:, :, : s.H - 1, : s.P**2], s.P, naming=(s.H - 1, s.P**2, s.P))
    check.raises(patchify, images[:, :, : s.H - 1], s.P, naming=(s.H - 1, s.W, s.P))
    check.raises(patchify, images[..., : s.W - 2], s.P, naming=(s.H, s.W - 2, s.P))
    check.raises(patchify, images[:, :, : s.H - 1, : s.W - 2], s.P, naming=(s.H - 1, s.W - 2, s.P))


@pytest.mark.exercise("1.2")
def test_unpatchify(check: Check) -> None:
    s = check.sizes(B=2, C=3, P=5, gh=7, gw=11)
    images = check.randn("B C H W")
    patches = check.solved("ch01_patches", "patchify")(images, s.P)
    unpatchify = check.get("unpatchify")

    restored = unpatchify(patches, s.P, (s.gh, s.gw), s.C)
    check.shape(restored, "B C H W", "unpatchify(patches, P, (gh, gw), C)")
    check.close(restored, images, "unpatchify should give back exactly the image that was cut")

    check.same(unpatchify, check.randn("B N C*P*P"), s.P, (s.gh, s.gw), s.C)
    check.same(unpatchify, check.randn("B N P*P"), s.P, (s.gh, s.gw), 1)
    check.gradients(unpatchify, patches, s.P, (s.gh, s.gw), s.C)
    check.dtypes(unpatchify, patches, s.P, (s.gh, s.gw), s.C)


@pytest.mark.exercise("1.3")
def test_patch_embedding(check: Check) -> None:
    s = check.sizes(B=2, C=3, P=5, gh=7, gw=11, D=13)
    images = check.randn("B C H W")
    embedding = check.module("PatchEmbedding", d_model=s.D, patch_size=s.P, in_channels=s.C)

    tokens = embedding(images)
    check.shape(tokens, "B N D", "the embedding of the images")
    conv, held = embedding.part("projection"), embedding.values()
    check.true("Conv2d" in conv.get("torch", ()), "projection should be an nn.Conv2d")
    for setting in ("kernel_size", "stride"):
        check.true(
            conv[setting] == (s.P, s.P),
            f"the {setting.replace('_', ' ')} of projection should be the patch size {s.P}, and is {conv[setting]}",
        )
    flat = check.solved("ch01_patches", "patchify")(images, s.P)
    linear = F.linear(flat, held["projection.weight"].flatten(1), held["projection.bias"])
    check.close(tokens, linear, "token n should be the projection of patch n, row by row")
    check.independent(embedding, images)

    check.same(embedding, images)
    check.same(embedding, images[:, :, : 2 * s.P])
    grey = check.module("PatchEmbedding", d_model=s.D, patch_size=s.P)
    check.same(grey, images[:, :1])
    check.gradients(embedding, images)
    check.dtypes(embedding, images)
    check.in_evaluation(embedding, images.flip(0))
    check.raises(embedding, images[:, :, : s.H - 1, : s.P**2], naming=(s.H - 1, s.P**2, s.P))
    check.raises(embedding, images[..., : s.W - 2], naming=(s.H, s.W - 2, s.P))
    check.raises(embedding, images[:, :, : s.H - 1, : s.W - 2], naming=(s.H - 1, s.W - 2, s.P))


@pytest.mark.exercise("1.4")
def test_conv_to_linear(check: Check) -> None:
    s = check.sizes(B=2, C=3, P=5, gh=7, gw=11, D=13)
    images = check.randn("B C H W")
    flat = check.solved("ch01_patches", "patchify")(images, s.P)
    weight, bias = check.randn("D C P P"), check.randn("D")
    conv = check.build("convolution", weight=weight, bias=bias)
    convert = check.get("conv_to_linear")

    seen = convert.observe(conv, keep="linear")
    layer = seen.structure.get("modules", {}).get("", {})
    check.true("Linear" in layer.get("torch", ()), "conv_to_linear should return an nn.Linear")
    linear = check.kept("linear", "the linear layer")
    held = linear.values()
    check.true("bias" in held, "the linear layer should have the convolution's bias")
    check.shape(held["weight"], "D C*P*P", "the weight of the linear layer")
    check.shape(held["bias"], "D", "the bias of the linear layer")

    after, parts = (seen.things[conv.name][what] for what in ("values", "structure"))
    frozen = [name for name, held in parts["parameters"].items() if not held["trained"]]
    check.true(not frozen, f"the convolution should stay as it was; frozen are its {' and '.join(frozen)}")
    for name, value in (("weight", weight), ("bias", bias)):
        check.close(
            after[name],
            value,
            f"the convolution's own {name} should not change: it was overwritten; the copy runs from it to the layer",
        )
    check.close(held["bias"], bias, "the bias should be the convolution's, and is another")
    check.close(
        held["weight"], weight.flatten(1), "row d of the weight should be kernel d, flattened in (C, P, P) order"
    )
    expected = F.conv2d(images, weight, bias, stride=s.P).flatten(2).transpose(1, 2)
    check.close(linear(flat), expected, "linear(patchify(x, P)) should equal the patch embedding of x")
    parameters = [seen.structure["parameters"].get(name, {}) for name in ("weight", "bias")]
    check.true(
        all(held.get("trained") for held in parameters),
        "weight and bias of the linear layer should be parameters that can be trained",
    )
    check.true(
        all(held["leaf"] for held in parameters),
        "weight and bias of the linear layer should stand on their own, and hang on the convolution's by a gradient",
        "No optimizer takes what was computed from something else: copy under torch.no_grad().",
    )
    check.both({"do": "load", "slot": conv.name, "tensors": {"weight": 0 * weight, "bias": 0 * bias}}, "conv")
    check.close(linear.values()["weight"], weight.flatten(1), "the linear layer should have its own copy of the weight")
    check.close(linear.values()["bias"], bias, "the linear layer should have its own copy of the bias")

    double = check.build("convolution", weight=weight.double(), bias=bias.double())
    seen = convert.observe(double, keep="double")
    check.true(
        seen.structure["parameters"]["weight"]["dtype"] == torch.float64,
        "the linear layer should have the convolution's dtype (float64 here)",
    )


def test_patchify_is_torchs_unfold() -> None:
    images = torch.randn(2, 3, 10, 35)
    patches = patchify(images, 5)
    assert torch.equal(patches, F.unfold(images, kernel_size=5, stride=5).transpose(1, 2))
    assert torch.equal(unpatchify(patches, 5, (2, 7), 3), F.fold(patches.transpose(1, 2), (10, 35), 5, stride=5))


def test_patch_embedding_is_a_matrix_on_torchs_unfold() -> None:
    images = torch.randn(2, 3, 10, 35)
    embedding = PatchEmbedding(d_model=11, patch_size=5, in_channels=3)
    columns = F.unfold(images, kernel_size=5, stride=5)
    expected = (embedding.projection.weight.flatten(1) @ columns).transpose(1, 2) + embedding.projection.bias
    torch.testing.assert_close(embedding(images), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        conv_to_linear(embedding.projection)(columns.transpose(1, 2)), expected, rtol=1e-4, atol=1e-5
    )
