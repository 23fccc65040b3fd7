"""Chapter 6: the checks of its exercises, and the references held against hooks, plain Python and sklearn."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from solutions.ch05_vit import VisionTransformer
from solutions.ch06_inside import (
    ablate_head,
    attention_distance,
    attention_maps,
    attention_rollout,
    linear_probe,
    occlusion_map,
)
from vitcourse.checking.check import NORMS, Check
from vitcourse.checking.subjects import CheckFailedError, Module, Subject
from vitcourse.worker.workshop import Observation

ATTENTION = ("blocks.1.attention.qkv.weight", "blocks.1.attention.out.weight")
FROZEN = ("patch_embedding.projection.bias", *ATTENTION, "blocks.1.mlp.fc1.bias", "head.weight")


@pytest.mark.exercise("6.1")
def test_attention_maps(check: Check) -> None:
    s = check.sizes(B=3, C=1, P=4, gh=6, gw=5, h=7, dh=8, L=2, K=11)
    images = check.randn("B C H W")
    maps = check.get("attention_maps")
    vit = own_model(check).watch()

    weights = looked(check, maps, vit, images, training=False)
    check.shape(weights, "L B h T T", "the maps")
    check.close(weights.sum(-1), torch.ones(s.L, s.B, s.h, s.T), "each row of the weights should sum to 1")
    check.true(bool((weights >= 0).all()), "no weight should be negative")
    check.same(maps, vit.target, images, **NORMS)

    dropping = own_model(check, dropout=0.3, positions="learned").watch()
    weights = looked(check, maps, dropping, images, training=True)
    check.same(maps, dropping.target, images, **NORMS)
    looked(check, maps, dropping, images, training=False)

    check.same(maps, vit.target, images[:1], **NORMS)
    check.same(maps, own_model(check, n_layers=1, n_heads=1).target, images, **NORMS)
    model_dtype(check, maps, vit, images)


@pytest.mark.exercise("6.2")
def test_attention_distance(check: Check) -> None:
    s = check.sizes(L=2, B=5, h=11, gh=3, gw=7, P=13)
    grid = (s.gh, s.gw)
    weights = (2 * check.randn("L B h T T")).softmax(-1)
    distance = check.get("attention_distance")

    pixels = distance(weights, grid, s.P)
    check.shape(pixels, "L h", "the distances")
    patches = torch.arange(s.N)
    for rest, side, where in ((patches % s.gw, s.gw, "row"), (patches // s.gw, s.gh, "column")):
        looks = torch.zeros(s.L, s.B, s.h, s.T, s.T)
        # Each patch looks at the patch that is 0 steps along its row, or column: it is `rest` steps away.
        first = patches - rest * (1 if where == "row" else s.gw)
        looks[..., 1 + patches, 1 + first] = 0.5
        looks[..., 1:, 0], looks[..., 0, :] = 0.5, 1 / s.T
        check.close(
            distance(looks, grid, s.P),
            torch.full((s.L, s.h), s.P * (side - 1) / 2),
            f"where each patch looks at the first of its own {where}, the mean distance should be "
            f"patch_size·(g{where[0].replace('r', 'w').replace('c', 'h')} - 1)/2 = {s.P * (side - 1) / 2:g} pixels",
        )
    other = (2 * check.randn("L B h T T")).softmax(-1)
    other[..., 1:, 1:] = weights[..., 1:, 1:] / weights[..., 1:, 1:].sum(-1, keepdim=True) * 0.25
    other[..., 1:, 0] = 0.75
    check.close(
        distance(other, grid, s.P),
        pixels,
        "what CLS looks at, and how much the patches look at CLS, should not matter: "
        "CLS is left out, and each row is made to sum to 1 again",
    )
    check.close(distance(weights, grid, 2 * s.P), 2 * pixels, "with patches twice as large, distances should double")

    check.same(distance, weights, grid, s.P)
    check.same(distance, weights, (s.gw, s.gh), 1)
    check.same(distance, weights[:1, :1, :1], grid, s.P)
    few = (2 * check.inputs.randn((s.L, 1, s.h, 7, 7))).softmax(-1)  # long sums in bfloat16 stand still
    check.dtypes(distance, few, (2, 3), s.P)


@pytest.mark.exercise("6.3")
def test_attention_rollout(check: Check) -> None:
    s = check.sizes(L=3, B=2, h=5, T=7)
    weights = (2 * check.randn("L B h T T")).softmax(-1)
    rollout = check.get("attention_rollout")

    rolled = rollout(weights)
    check.shape(rolled, "B T T", "the rollout")
    check.close(rolled.sum(-1), torch.ones(s.B, s.T), "each row should sum to 1")
    eye = torch.eye(s.T).expand(s.B, s.T, s.T)
    check.close(rollout(weights, 1.0), eye, "with residual=1 attention plays no part: the identity should come out")
    check.close(
        rollout(weights[:1], 0.0),
        weights[0].mean(1),
        "of one layer with residual=0, the mean of its heads should remain",
    )
    check.close(
        rollout(weights[:1], 0.25),
        0.75 * weights[0].mean(1) + 0.25 * eye,
        "one layer should be (1 - residual)·A + residual·I",
    )
    # Below, each token looks at the next one; above, all look at token 0: so all comes from token 1.
    below, above = torch.eye(s.T).roll(-1, 0), torch.eye(s.T)[0].expand(s.T, s.T)
    two = torch.stack([below, above])[:, None, None].expand(2, s.B, s.h, s.T, s.T)
    check.close(
        rollout(two, 0.0),
        below[0].expand(s.B, s.T, s.T),
        "later layers should stand at the left of the product: where all look at token 0 above, and token 0 looks at "
        "token 1 below, all comes from token 1",
    )

    check.same(rollout, weights)
    for residual in (0.5, 0.0, 0.3, 1.0):
        check.same(rollout, weights, residual=residual)
    check.same(rollout, weights[:, :1])
    check.same(rollout, weights[:2, :, :1], 0.3)
    check.dtypes(rollout, weights, 0.3)


@pytest.mark.exercise("6.4")
def test_occlusion_map(check: Check) -> None:
    s = check.sizes(B=7, C=10, P=3, gh=4, gw=2, h=5, dh=13, L=1, K=11)
    images, labels = check.randn("B C H W"), check.labels("B", n_classes=s.K)
    occlude = check.get("occlusion_map")
    vit = own_model(check).watch()

    falls = looked(check, occlude, vit, images, labels, s.P, training=False)
    check.shape(falls, "B gh gw", "the map")
    grey = torch.full_like(images, 0.7)
    check.close(
        occlude(vit.target, grey, labels, s.P, 0.7),
        torch.zeros(s.B, s.gh, s.gw),
        "where a patch is filled with what is there already, nothing should fall",
        atol=1e-4,
    )
    check.close(falls, occlude.expected(vit.target, images, labels, s.P), "occlusion_map returns wrong values", **NORMS)
    one = (vit.target, images[:1], labels[:1], 2, 0.7)
    check.close(
        occlude(*one),
        occlude.expected(*one),
        "for patch_size=2, which is not the model's, and fill=0.7, occlusion_map returns wrong values",
        **NORMS,
    )
    check.same(occlude, vit.target, images, labels, 2 * s.P, fill=-1.5, **NORMS)
    dropping = own_model(check, dropout=0.3).watch()
    looked(check, occlude, dropping, images, labels, 2 * s.P, training=True)
    check.same(occlude, dropping.target, images, labels, 2 * s.P, **NORMS)
    model_dtype(check, occlude, vit, images, labels, 2 * s.P)
    check.raises(occlude, vit.target, images, labels, 4)
    check.raises(occlude, vit.target, images.transpose(2, 3).contiguous(), labels, 4)


@pytest.mark.exercise("6.5")
def test_ablate_head(check: Check) -> None:
    s = check.sizes(B=5, C=8, P=7, gh=6, gw=2, h=4, dh=9, L=3, K=11)
    images = check.randn("B C H W")
    ablate = check.get("ablate_head")
    vit = own_model(check, dropout=0.3).train(False)
    before = vit(images)

    copies = {}
    for layer, head in ((1, 2), (0, 1), (1, 0), (s.L - 1, 0)):
        copy = copies[layer, head] = copied(check, ablate, vit, layer, head, training=False)
        what, logits = f"the logits of the copy without head {head} of layer {layer}", copy(images)
        check.shape(logits, "B K", what)
        check.true(not torch.allclose(logits, before, rtol=1e-3, atol=1e-3), f"{what} are those of the whole model")
        silent = f"{what} are wrong: that head, whole, and no other is to be silent"
        check.close(logits, copy.expected(images), silent, **NORMS)
    check.close(vit(images), before, "the model itself should give the logits that it gave before")
    first = copies[1, 2]
    check.same(first, images, **NORMS)
    seen = first.observe(images)
    check.true(all(seen.attached), "the copy should be trainable as the model was: no gradient comes through it")

    frozen = own_model(check, dropout=0.3).freeze(*FROZEN)
    training = copied(check, ablate, frozen, 1, 0, training=True, frozen=FROZEN)
    check.same(training.train(False), images, **NORMS)
    alone = own_model(check, n_layers=1, n_heads=1).train(False)
    check.same(copied(check, ablate, alone, 0, 0, training=False), images, **NORMS)
    double = vit.to(torch.float64).train(False)
    logits = copied(check, ablate, double, 1, 2, training=False)(images.double())
    check.true(logits.dtype == torch.float64, "the copy should keep the model's dtype (float64 here)")

    logits = first(images)
    vit.load(**{name: 0.5 * value for name, value in vit.values().items() if name in vit.structure["parameters"]})
    check.close(
        first(images),
        logits,
        "the copy should share no memory with the model: when the model's weights change, its logits change too",
    )


@pytest.mark.exercise("6.6")
def test_linear_probe(check: Check) -> None:
    s = check.sizes(n=41, D=7, K=5)
    scale = torch.tensor([0.3, 1.0, 2.0, 0.5, 1.5, 0.7, 1.0], dtype=torch.float64)[: s.D]
    features = scale * check.randn("n D").double() + check.randn("D").double() + 1
    labels = check.labels("n", n_classes=s.K)
    exact: dict[str, float] = {"rtol": 1e-6, "atol": 1e-8}
    fit = check.get("linear_probe")

    weight, bias = check.pair(fit(features, labels, s.K), "weight and bias")
    check.shape(weight, "D K", "the weight")
    check.shape(bias, "K", "the bias")
    targets = torch.eye(s.K, dtype=torch.float64)[labels]
    shares = targets.mean(0)
    guess = features @ weight.double() + bias.double()
    check.close(
        guess.mean(0),
        shares,
        "the mean of xW + b over the examples should be each class's share: the bias, not penalised, sees to that",
        atol=1e-5,
    )
    slope = features.T @ (guess - targets) / s.n + 1e-2 * weight.double()
    check.close(
        slope,
        torch.zeros(s.D, s.K),
        "at the minimum the slope along each weight, (1/n)·Xᵀ(XW + b - Y) + ridge·W, should be 0",
        atol=1e-5,
    )
    check.close(
        fit(features, labels, s.K, 1e9)[0],
        torch.zeros(s.D, s.K),
        "where ridge is huge, nothing should be left of the weight",
    )
    check.close(
        fit(features, labels, s.K, 1e9)[1],
        shares,
        "where ridge is huge, the bias should be each class's share of the examples: it isn't penalised",
    )
    twice = fit(torch.cat([features, features]), torch.cat([labels, labels]), s.K, 0.5)
    check.close(
        twice,
        tuple(fit(features, labels, s.K, 0.5)),
        "each example twice should change nothing: the squares are averaged, (1/n)·Σ, and ridge stands beside the mean",
        **exact,
    )

    check.same(fit, features, labels, s.K, **exact)
    for ridge in (1e-4, 0.3, 10.0):
        check.same(fit, features, labels, s.K, ridge=ridge, **exact)
    check.same(fit, features, labels, s.K + 3, 0.3, **exact)  # three classes without an example, at the end
    check.same(fit, features, 3 + labels, s.K + 3, 0.3, **exact)  # and at the beginning
    check.same(fit, features[:3], labels[:3], s.K, 0.3, **exact)  # fewer examples than features
    mine = fit(features, labels, s.K)
    check.true(
        all(part.dtype == torch.float64 for part in mine),
        "linear_probe turns float64 into another dtype: all that is made on the way takes the features'",
    )
    mine, expected = fit(features.float(), labels, s.K, 0.1), fit.expected(features.float(), labels, s.K, 0.1)
    check.true(
        all(part.dtype == torch.float32 for part in mine),
        "linear_probe turns float32 into another dtype: targets and identity take the features' dtype (and device)",
    )
    check.close(tuple(mine), expected, "linear_probe returns wrong values in float32", 1e-3, 1e-3)


def own_model(check: Check, **more: Any) -> Module:
    """The learner's own model of chapter 5, of the check's sizes."""
    s = check.s
    sizes = {"image_size": (s.H, s.W), "patch_size": s.P, "in_channels": s.C, "n_classes": s.K}
    width = {"d_model": s.D, "n_layers": s.L, "n_heads": s.h, "mlp_ratio": 2}
    check.norms = NORMS
    return check.module("VisionTransformer", **{**sizes, **width, **more})


def looked(check: Check, subject: Subject, vit: Module, *args: Any, training: bool) -> Any:
    """The result of a call that only looks at the model, which came in this mode and has to leave as it came."""
    vit.train(training)
    before = vit.values()
    seen = subject.observe(vit.target, *args, **NORMS)
    unchanged(check, vit, seen, before, training)
    check.true(not any(seen.attached), "the result should require no gradient: torch.no_grad() spares it")
    check.true(
        not any(event["gradients"] for event in seen.events if event["event"] == "run"),
        "the model should run without gradients: torch.no_grad() or torch.inference_mode()",
    )
    return seen.result


def unchanged(
    check: Check,
    vit: Module,
    seen: Observation,
    before: dict[str, Tensor],
    training: bool,
    frozen: tuple[str, ...] = (),
) -> None:
    """The model is as it was: its mode, its values, what of it is trained, its hooks."""
    state = seen.things[vit.target.name]
    wrong = [path or "the model" for path, on in state["structure"]["modes"].items() if on != training]
    check.true(
        not wrong,
        f"the mode in which the model came ({'training' if training else 'evaluation'}) should be restored",
        f"in another mode after the call: {shortened(wrong)}",
    )
    check.true(
        "hooks" not in seen.left,
        "a hook stays on the model",
        "register_forward_hook returns a handle, and handle.remove() takes the hook away. A forward put in place of a "
        "module's own has to go too.",
    )
    now, held = state["values"], state["structure"]["parameters"]
    other = [name for name, value in before.items() if name not in now or not torch.equal(value, now[name])]
    check.true(not other, "the model itself should stay as it was", f"changed: {shortened(other)}")
    more = [name for name in now if name not in before]
    check.true(not more, "the model itself should stay as it was", f"new in it: {shortened(more)}")
    other = [name for name in held if held[name]["trained"] == (name in frozen)]
    check.true(
        not other,
        "what of the model can be trained should stay as it was (requires_grad)",
        f"changed: {shortened(other)}",
    )


def copied(
    check: Check, ablate: Subject, vit: Module, layer: int, head: int, training: bool, frozen: tuple[str, ...] = ()
) -> Subject:
    """The copy in which a head is silent: the model is as it was, and the copy in the same mode, trained as it was."""
    vit.train(training)
    before = vit.values()
    slot = check.new_slot()
    request = ablate._request((vit.target, layer, head), {}, keep=slot.name)
    check.reference.answer(request)
    seen = check.ask(request)
    check.fine(ablate.name, seen)
    if not seen.structure:
        raise CheckFailedError(f"{ablate.name} should return a model, and returned {kind_of(seen.result)}")
    unchanged(check, vit, seen, before, training, frozen)
    own = seen.things[vit.target.name]["structure"]["modes"]  # what was put round its parts has a mode of its own
    wrong = [path or "the copy" for path, on in seen.structure["modes"].items() if path in own and on != training]
    check.true(
        not wrong,
        f"the copy should be in the mode in which the model came ({'training' if training else 'evaluation'})",
        f"in another mode: {shortened(wrong)}",
    )
    held = seen.structure["parameters"]
    wrong = [name for name in before if name in held and held[name]["trained"] == (name in frozen)]
    check.true(
        not wrong,
        "what can be trained in the copy should be what can be trained in the model (requires_grad)",
        f"another in the copy: {shortened(wrong)}",
    )
    return check.kept(slot.name, "the copy")


def model_dtype(check: Check, subject: Subject, vit: Module, images: Tensor, *args: Any) -> None:
    """A model in float64 or bfloat16, on images in the same, gives a result in it."""
    for dtype in (torch.float64, torch.bfloat16):
        cast = vit.to(dtype).train(False)
        result = subject(cast.target, images.to(dtype), *args)
        kept_dtype(check, subject, result, dtype)
        if dtype == torch.float64:
            expected = subject.expected(cast.target, images.to(dtype), *args)
            check.close(result, expected, f"{subject.name} returns wrong values in float64", **NORMS)


def kept_dtype(check: Check, subject: Subject, result: Any, dtype: torch.dtype) -> None:
    """The result has the dtype of what was given."""
    came, word = (str(kind).removeprefix("torch.") for kind in (getattr(result, "dtype", "no tensor"), dtype))
    check.true(
        came == word,
        f"{subject.name} turns {word} into {came}",
        "A tensor made on the way needs the dtype (and the device) of what it meets.",
    )


def shortened(names: list[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def kind_of(result: Any) -> str:
    """What came back in place of a model."""
    return "None: a return is missing" if result is None else getattr(result, "kind", type(result).__name__)


# The references, held against what isn't ours.


def small_model(**more: Any) -> VisionTransformer:
    """A model in float64 of which no parameter is at 0 or 1."""
    model = VisionTransformer((12, 6), 3, 2, 11, 21, 3, 3, mlp_ratio=2, **more).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_attention_maps_are_those_that_hooks_see() -> None:
    """Queries and keys as every block's qkv gives them in a whole forward pass; the weights as torch has them."""
    model, images = small_model(dropout=0.3), torch.randn(5, 2, 12, 6, dtype=torch.float64)
    seen: list[Tensor] = []
    handles = [
        block.attention.qkv.register_forward_hook(lambda module, args, result: seen.append(result))
        for block in model.blocks
    ]
    model.eval()(images)
    for handle in handles:
        handle.remove()
    maps = attention_maps(model.train(), images)
    assert model.training
    assert not maps.requires_grad
    for layer, qkv in enumerate(seen):
        q, k, _ = qkv.view(5, 9, 3, 3, 7).permute(2, 0, 3, 1, 4)
        eye = torch.eye(9, dtype=torch.float64).expand(5, 3, 9, 9)
        expected = nn.functional.scaled_dot_product_attention(q, k, eye)
        torch.testing.assert_close(maps[layer], expected)


def test_attention_distance_is_its_formula() -> None:
    gh, gw, patch_size = 2, 3, 5
    weights = torch.randn(2, 3, 2, 7, 7, dtype=torch.float64).softmax(-1)
    distance = attention_distance(weights, (gh, gw), patch_size)
    for layer, head in product(range(2), range(2)):
        means = []
        for image, query in product(range(3), range(6)):
            row = [float(weights[layer, image, head, 1 + query, 1 + key]) for key in range(6)]
            far = [math.dist(divmod(query, gw), divmod(key, gw)) for key in range(6)]
            means.append(patch_size * sum(w * d for w, d in zip(row, far, strict=True)) / sum(row))
        assert float(distance[layer, head]) == pytest.approx(sum(means) / len(means), rel=1e-9)


def test_attention_rollout_is_its_formula() -> None:
    weights = torch.randn(3, 2, 5, 4, 4, dtype=torch.float64).softmax(-1)
    rolled = attention_rollout(weights, 0.3)
    for image in range(2):
        expected = torch.eye(4, dtype=torch.float64)
        for layer in (2, 1, 0):
            expected = expected @ (0.7 * sum(weights[layer, image]) / 5 + 0.3 * torch.eye(4))
        torch.testing.assert_close(rolled[image], expected)


def test_occlusion_map_of_a_linear_model_is_its_formula() -> None:
    """Of a linear classifier the fall is known: the label's weights times what is taken away."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 4, 5)).double()
    images, labels = torch.randn(3, 2, 6, 4, dtype=torch.float64), torch.tensor([4, 0, 4])
    falls = occlusion_map(model, images, labels, 2, fill=0.7)
    weight = model[1].weight.view(5, 2, 6, 4)
    for image, row, column in product(range(3), range(3), range(2)):
        patch = (slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
        taken = images[image][patch] - 0.7
        expected = (weight[labels[image]][patch] * taken).sum()
        torch.testing.assert_close(falls[image, row, column], expected.detach())


def test_a_silent_head_is_one_that_is_taken_out_of_what_the_output_layer_reads() -> None:
    model, images = small_model().eval(), torch.randn(5, 2, 12, 6, dtype=torch.float64)
    for layer, head in product(range(3), range(3)):

        def silence(_: nn.Module, args: tuple[Tensor, ...], head: int = head) -> tuple[Tensor]:
            keep = (torch.arange(21) // 7 != head).double()
            return (args[0] * keep,)

        handle = model.blocks[layer].attention.out.register_forward_pre_hook(silence)
        expected = model(images)
        handle.remove()
        torch.testing.assert_close(ablate_head(model, layer, head)(images), expected)


def test_linear_probe_is_sklearns_ridge() -> None:
    from sklearn.linear_model import Ridge

    for n in (31, 5):
        features, labels = 3 + torch.randn(n, 7, dtype=torch.float64), torch.randint(4, (n,))
        weight, bias = linear_probe(features, labels, 6, ridge=0.3)
        theirs = Ridge(alpha=0.3 * n).fit(features.numpy(), torch.eye(6, dtype=torch.float64)[labels].numpy())
        torch.testing.assert_close(weight, torch.from_numpy(theirs.coef_.T.copy()))
        torch.testing.assert_close(bias, torch.from_numpy(theirs.intercept_))
        assert not bias[4:].any()


def test_everything_stays_on_the_device_of_its_input() -> None:
    """The meta device stands in for a GPU: a tensor made on the CPU halfway would not mix with it."""
    model = small_model().to("meta")
    images, labels = torch.randn(5, 2, 12, 6, device="meta").double(), torch.zeros(5, dtype=torch.long, device="meta")
    weights = attention_maps(model, images)
    assert attention_distance(weights, (4, 2), 3).device.type == "meta"
    assert attention_rollout(weights).device.type == "meta"
    assert occlusion_map(model, images, labels, 3).device.type == "meta"
    assert next(ablate_head(model, 1, 2).parameters()).device.type == "meta"
