"""Chapter 3: the checks of its exercises, and the references held against torch's own attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solutions.ch03_attention import (
    AttentionHead,
    MultiHeadAttention,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from vitcourse.checking.check import Check


@pytest.mark.exercise("3.1")
def test_scaled_dot_product_attention(check: Check) -> None:
    s = check.sizes(B=2, h=3, Tq=5, Tk=11, dh=7, dv=13)
    q, k, v = check.randn("B h Tq dh"), check.randn("B h Tk dh"), check.randn("B h Tk dv")
    attention = check.get("scaled_dot_product_attention")

    output, weights = check.pair(attention(q, k, v), "output and weights")
    check.shape(output, "B h Tq dv", "the output")
    check.shape(weights, "B h Tq Tk", "the weights")
    check.close(weights.sum(-1), torch.ones(s.B, s.h, s.Tq), "each row of the weights should sum to 1")
    check.true(bool((weights >= 0).all()), "no weight should be negative")
    check.close(output, weights @ v, "the output should be the values, mixed by the weights that are returned")
    order = check.order("Tk")
    check.close(
        attention(q, k[:, :, order], v[:, :, order])[0],
        output,
        "the order of keys and values should not matter, as long as it is the same",
    )
    check.close(
        attention(torch.zeros_like(q), k, v)[1],
        torch.full((s.B, s.h, s.Tq, s.Tk), 1 / s.Tk),
        "a query of zeros should look at all keys alike",
    )

    check.same(attention, q, k, v)
    check.same(attention, q[0, 0], k[0, 0], v[0, 0])
    check.same(attention, q[0], k[0], v[0])
    check.same(attention, q, k[:, :, : s.Tq], v[:, :, : s.Tq])
    # Scores of hundreds, which exp alone can't take; their rounding is that much larger too.
    check.same(attention, 100 * q, k, v, rtol=1e-3, atol=1e-3)
    check.gradients(attention, q, k, v)
    check.dtypes(attention, q, k, v)


@pytest.mark.exercise("3.2")
def test_attention_head(check: Check) -> None:
    s = check.sizes(B=2, T=5, D=13, dh=7)
    x = check.randn("B T D")
    head = check.module("AttentionHead", d_model=s.D, d_head=s.dh)

    output, weights = check.pair(head(x), "output and weights")
    check.shape(output, "B T dh", "the output")
    check.shape(weights, "B T T", "the weights")
    check.close(weights.sum(-1), torch.ones(s.B, s.T), "each row of the weights should sum to 1")
    order = check.order("T")
    check.close(
        head(x[:, order])[0], output[:, order], "when the tokens change places, so should the outputs, and nothing else"
    )

    check.same(head, x)
    check.gradients(head, x)
    check.dtypes(head, x)
    check.in_evaluation(head, x.flip(0))


@pytest.mark.exercise("3.3")
def test_split_and_merge_heads(check: Check) -> None:
    s = check.sizes(B=2, T=5, h=3, dh=7)
    x, heads = check.randn("B T D"), check.randn("B h T dh")
    split, merge = check.get("split_heads"), check.get("merge_heads")

    parts = split(x, s.h)
    check.shape(parts, "B h T dh", "split_heads(x, n_heads)")
    check.shape(merge(heads), "B T D", "merge_heads(x)")
    for head in range(s.h):
        own = x[:, :, head * s.dh : (head + 1) * s.dh]
        check.close(parts[:, head], own, f"head {head} should own its columns of every token, {s.dh} side by side")
    check.close(merge(parts), x, "merge_heads should be the exact inverse of split_heads")

    check.same(split, x, s.h)
    check.same(merge, heads)
    check.same(split, x, 1)
    for subject, args in ((split, (x, s.h)), (merge, (heads,))):
        check.gradients(subject, *args)
        check.dtypes(subject, *args)


@pytest.mark.exercise("3.4")
def test_multi_head_attention(check: Check) -> None:
    s = check.sizes(B=2, T=5, h=3, dh=7)
    x = check.randn("B T D")
    attention = check.module("MultiHeadAttention", d_model=s.D, n_heads=s.h)

    output = attention(x)
    check.shape(output, "B T D", "the output")
    with_weights, weights = check.pair(attention(x, return_weights=True), "output and weights")
    check.shape(weights, "B h T T", "the weights")
    check.close(weights.sum(-1), torch.ones(s.B, s.h, s.T), "each row of the weights should sum to 1")
    check.alike(with_weights, output, attention.expected(x), "the output should be the same with return_weights=True")
    order = check.order("T")
    check.close(
        attention(x[:, order]),
        output[:, order],
        "without positions, attention treats the tokens as a set: when they change places, so should the outputs",
    )
    check.independent(attention, x)

    check.same(attention, x)
    check.same(attention, x, return_weights=True)
    alone = check.module("MultiHeadAttention", d_model=s.D, n_heads=1)
    check.same(alone, x)
    check.same(alone, x, return_weights=True)
    check.same(check.module("MultiHeadAttention", d_model=s.D, n_heads=s.D), x)
    check.gradients(attention, x)
    check.dtypes(attention, x)
    check.in_evaluation(attention, x.flip(0))
    check.raises(check.get("MultiHeadAttention"), d_model=10, n_heads=3)

    s = check.sizes(B=2, T=5, D=24)
    x = check.randn("B T D")
    counts = []
    for n_heads in (4, 8):
        seen = check.module("MultiHeadAttention", d_model=s.D, n_heads=n_heads).observe(x, count=True)
        counts.append((seen.products, seen.softmaxes))
    check.true(
        counts[0] == counts[1],
        "every head should be computed at once: here the number of products or softmaxes grows with the heads",
        f"4 heads: {counts[0][0]} products, {counts[0][1]} softmaxes; 8 heads: {counts[1][0]} and {counts[1][1]}. "
        "A loop over the heads works on one head at a time; with an axis for the heads, one product does all.",
    )


def test_attention_is_torchs() -> None:
    q, k, v = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 11, 7), torch.randn(2, 3, 11, 13)
    output, weights = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(output, F.scaled_dot_product_attention(q, k, v), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        weights, F.scaled_dot_product_attention(q, k, torch.eye(11).expand(2, 3, 11, 11)), rtol=1e-4, atol=1e-5
    )


def test_split_heads_is_view_and_transpose() -> None:
    x = torch.randn(2, 5, 21)
    assert torch.equal(split_heads(x, 3), x.view(2, 5, 3, 7).transpose(1, 2))
    assert torch.equal(merge_heads(split_heads(x, 3)), x)


def test_multi_head_attention_is_torchs() -> None:
    x = torch.randn(2, 5, 21)
    ours, theirs = MultiHeadAttention(21, 3), nn.MultiheadAttention(21, 3, batch_first=True)
    randomise(ours)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    expected, expected_weights = theirs(x, x, x, average_attn_weights=False)
    output, weights = ours(x, return_weights=True)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_one_head_is_multi_head_attention_with_one() -> None:
    x = torch.randn(2, 5, 13)
    head, theirs = AttentionHead(13, 13), nn.MultiheadAttention(13, 1, batch_first=True)
    randomise(head)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([head.query.weight, head.key.weight, head.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([head.query.bias, head.key.bias, head.value.bias]))
        theirs.out_proj.weight.copy_(torch.eye(13))
        theirs.out_proj.bias.zero_()
    expected, expected_weights = theirs(x, x, x)
    output, weights = head(x)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-5)


def randomise(module: nn.Module) -> None:
    """No parameter at 0 or 1, where a mistake could hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
