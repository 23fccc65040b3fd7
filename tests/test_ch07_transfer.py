"""Chapter 7: the checks of its exercises, and the references held against the original's forward pass and torch's loss.

That forward pass is written here once more, on the names and layout of its own file, with none of the course's code.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.ch05_vit import VisionTransformer, cross_entropy, train_step
from solutions.ch07_transfer import (
    accumulated_step,
    adapt_state_dict,
    from_jax,
    mixup,
    param_groups,
    soft_cross_entropy,
)
from vitcourse.checking.check import NORMS, Check, described
from vitcourse.checking.sizes import Sizes
from vitcourse.checking.subjects import Subject
from vitcourse.worker.protocol import Part
from vitcourse.worker.things import Probe
from vitcourse.worker.workshop import Observation

# The original's file


def shapes_in_the_file(n_layers: int) -> dict[str, str]:
    """Every name of the file with its shape, in the course's symbols."""
    shapes = {
        "cls": "1 1 D",
        "embedding/kernel": "P P C D",
        "embedding/bias": "D",
        "Transformer/posembed_input/pos_embedding": "1 T D",
        "Transformer/encoder_norm/scale": "D",
        "Transformer/encoder_norm/bias": "D",
        "head/kernel": "D K",
        "head/bias": "K",
        # Of the larger files: a layer before the head, which this architecture hasn't got.
        "pre_logits/kernel": "D D",
        "pre_logits/bias": "D",
    }
    for i in range(n_layers):
        block = f"Transformer/encoderblock_{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/scale": "D", f"{block}/{norm}/bias": "D"}
        for name in ("query", "key", "value"):
            shapes |= {f"{attention}/{name}/kernel": "D h dh", f"{attention}/{name}/bias": "h dh"}
        shapes |= {f"{attention}/out/kernel": "h dh D", f"{attention}/out/bias": "D"}
        shapes |= {f"{block}/MlpBlock_3/Dense_0/kernel": "D M", f"{block}/MlpBlock_3/Dense_0/bias": "M"}
        shapes |= {f"{block}/MlpBlock_3/Dense_1/kernel": "M D", f"{block}/MlpBlock_3/Dense_1/bias": "D"}
    return shapes


def original(checkpoint: Mapping[str, Tensor], images: Tensor, n_layers: int) -> Tensor:
    """The original's forward pass, straight from its file: (B, C, H, W) -> (B, K)."""

    def normed(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / (variance + 1e-6).sqrt() * checkpoint[f"{name}/scale"] + checkpoint[f"{name}/bias"]

    patch = checkpoint["embedding/kernel"].shape[0]
    patches = images.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, C, gh, gw, P, P)
    x = torch.einsum("bcijpq,pqcd->bijd", patches, checkpoint["embedding/kernel"]) + checkpoint["embedding/bias"]
    x = torch.cat([checkpoint["cls"].expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)
    x = x + checkpoint["Transformer/posembed_input/pos_embedding"]
    for i in range(n_layers):
        block = f"Transformer/encoderblock_{i}"
        attention, mlp = f"{block}/MultiHeadDotProductAttention_1", f"{block}/MlpBlock_3"
        y = normed(x, f"{block}/LayerNorm_0")
        q, k, v = (
            torch.einsum("btd,dhe->bthe", y, checkpoint[f"{attention}/{name}/kernel"])
            + checkpoint[f"{attention}/{name}/bias"]
            for name in ("query", "key", "value")
        )
        weights = (torch.einsum("bqhe,bkhe->bhqk", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        y = torch.einsum("bhqk,bkhe->bqhe", weights, v)
        x = x + torch.einsum("bqhe,hed->bqd", y, checkpoint[f"{attention}/out/kernel"])
        x = x + checkpoint[f"{attention}/out/bias"]
        y = normed(x, f"{block}/LayerNorm_2") @ checkpoint[f"{mlp}/Dense_0/kernel"] + checkpoint[f"{mlp}/Dense_0/bias"]
        y = y * torch.special.ndtr(y)
        x = x + y @ checkpoint[f"{mlp}/Dense_1/kernel"] + checkpoint[f"{mlp}/Dense_1/bias"]
    x = normed(x, "Transformer/encoder_norm")[:, 0]
    return x @ checkpoint["head/kernel"] + checkpoint["head/bias"]


# The checks


@pytest.mark.exercise("7.1")
def test_from_jax(check: Check) -> None:
    s = check.sizes(B=3, C=8, P=5, gh=7, gw=4, h=2, dh=9, ratio=6, K=19, L=12)
    convert = check.get("from_jax")

    def file(n_layers: int) -> dict[str, Tensor]:
        return {name: 0.5 * check.randn(shape) for name, shape in shapes_in_the_file(n_layers).items()}

    checkpoint = file(4)  # two blocks more than are asked for: one too many, or from 1 on, are not all
    state = same_state(check, convert, checkpoint, 2)
    images = check.randn("B C H W")
    for positions in ("learned", "sinusoidal"):
        vit = check.fresh(
            "VisionTransformer", image_size=(s.H, s.W), patch_size=s.P, in_channels=s.C, n_classes=s.K, d_model=s.D,
            n_layers=2, n_heads=s.h, mlp_ratio=s.ratio, positions=positions,
        )  # fmt: skip
        vit.load(**state)
        check.close(
            vit(images),
            original(checkpoint, images, 2),
            "with these weights your model should give the logits of the original architecture",
            **NORMS,
        )

    # Of 13 blocks in the file, 12 are asked for; then 1.
    deep = file(s.L + 1)
    for n_layers in (s.L, 1):
        same_state(check, convert, deep, n_layers, when=f" (n_layers={n_layers}, of 13 in the file)")
    one = {name: tensor for name, tensor in file(1).items() if "pre_logits" not in name}
    same_state(check, convert, dict(sorted(one.items(), reverse=True)), 1)
    for dtype in (torch.float64, torch.float16):
        same_state(check, convert, {name: tensor.to(dtype) for name, tensor in one.items()}, 1, when=f" in {dtype}")


@pytest.mark.exercise("7.2")
def test_adapt_state_dict(check: Check) -> None:
    s = check.sizes(C=8, P=3, gh=2, gw=7, new_gh=9, new_gw=4, h=5, dh=10, ratio=2, K=13)
    adapt = check.get("adapt_state_dict")
    vit = check.solved("ch05_vit", "VisionTransformer")((s.H, s.W), s.P, s.C, s.K, s.D, 2, s.h, s.ratio)
    state = {name: check.inputs.randn(tuple(value.shape)) for name, value in vit.state_dict().items()}
    grid = (s.gh, s.gw)

    new = adapt(state, grid, (s.new_gh, s.new_gw), 11)
    is_state(check, adapt.name, new)
    check.shape(new.get("positional_encoding.positions"), "1 1+new_gh*new_gw D", "positional_encoding.positions")
    check.shape(new.get("head.weight"), "11 D", "head.weight, for 11 classes,")
    check.shape(new.get("head.bias"), "11", "head.bias, for 11 classes,")
    # As many patches in another grid; the same grid; as many classes as before, fewer, more.
    for new_grid, n_classes in (((9, 4), 11), ((1, 14), s.K), (grid, s.K), (grid, 3), ((7, 2), s.K), ((1, 1), 2)):
        when = f" (from the grid {grid} to {new_grid}, from {s.K} classes to {n_classes})"
        new = same_state(
            check, adapt, state, grid, new_grid, n_classes, when=when, leaves=True, expects="own memory"
        )  # fmt: skip
        seen = check.questions[-1].seen
        attached = [name for name, asks in zip(new, seen.attached, strict=True) if asks]
        check.true(
            not attached,
            f"{' and '.join(attached[:2])} still hang on the old state, or ask for gradients{when}: detach them",
            "clone() copies, and is recorded for the backward pass; detach() cuts the copy off.",
        )
        check.true(
            not seen.shared,
            f"{' and '.join(seen.shared[:2])} share their memory with the old state{when}",
            "Training the new model would change the old one too. clone() gives memory of its own.",
        )
    # What else a state dict may hold is copied too; of the grid only the rows differ, and then only the columns.
    counted = {**state, "blocks.0.count": torch.tensor(5), "blocks.1.running_mean": check.randn("D")}
    same_state(check, adapt, counted, grid, (4, s.gw), 5)
    for dtype, near in ((torch.float64, 1e-5), (torch.bfloat16, 0.05)):
        cast = {name: tensor.to(dtype) for name, tensor in state.items()}
        for new_grid in ((s.gh, 5), grid):
            same_state(check, adapt, cast, grid, new_grid, 5, when=f" in {dtype}", near=near)


@pytest.mark.exercise("7.3")
def test_param_groups(check: Check) -> None:
    s = check.sizes(C=1, P=7, gh=3, gw=6, h=2, dh=5, ratio=4, K=16, L=12)
    grouping = check.get("param_groups")
    arguments: dict[str, Any] = {
        "image_size": (s.H, s.W), "patch_size": s.P, "in_channels": s.C, "n_classes": s.K,
        "d_model": s.D, "n_heads": s.h, "mlp_ratio": s.ratio,
    }  # fmt: skip
    frozen = ("patch_embedding.projection.weight", "blocks.0.norm1.bias")
    # The last asks without layer_decay, whose default is 1.
    for n_layers, positions, *decay in ((2, "learned", 0.5), (s.L, "sinusoidal", 0.75), (3, "learned")):
        vit = check.module("VisionTransformer", **arguments, n_layers=n_layers, positions=positions).freeze(*frozen)
        shapes = {name: held["shape"] for name, held in vit.structure["parameters"].items()}
        seen = grouping.observe(vit.target, 0.1, 0.3, *decay, expects="groups")
        where = grouped(check, seen.result, list(shapes))
        for name, group in where.items():
            k, factor = depth_of(name, n_layers), decay[0] if decay else 1.0
            check.close(
                group.get("lr"),
                0.1 * factor**k,
                f"the learning rate of {name} should be lr·layer_decay^{k} in a model of {n_layers} layers",
            )
            decays = len(shapes[name]) > 1 and not name.startswith("positional_encoding")
            kind = "a tensor of one axis" if len(shapes[name]) == 1 else "CLS or positions"
            check.close(
                group.get("weight_decay"),
                0.3 * decays,
                f"{name} should decay" if decays else f"{name} should have a weight decay of 0: it is {kind}",
            )
        after = seen.things[vit.target.name]["structure"]
        trained = [name for name, held in after["parameters"].items() if held["trained"] == (name in frozen)]
        check.true(not trained, "param_groups should leave it as it is which parameters are trained")
        check.true(all(after["modes"].values()), "param_groups should leave the model in its mode")


@pytest.mark.exercise("7.4")
def test_mixup(check: Check) -> None:
    s = check.sizes(B=5, C=2, H=7, W=3, K=11)
    images, labels = check.randn("B C H W"), check.labels("B", n_classes=s.K - 1, distinct=True)
    order = check.order("B")
    mix = check.get("mixup")

    mixed, targets = check.pair(mix(images, labels, s.K, 0.3, order), "the images and the targets")
    check.shape(mixed, "B C H W", "the mixed images")
    check.shape(targets, "B K", "the targets")
    check.close(targets.sum(-1), torch.ones(s.B), "each row of the targets should sum to 1")
    one_hot = torch.nn.functional.one_hot(labels, s.K)
    for lam, kept, rows in ((1.0, images, one_hot), (0.0, images[order], one_hot[order])):
        what = "stay as they are" if lam else "be their partners, those of order"
        mixed, targets = check.pair(mix(images, labels, s.K, lam, order), "the images and the targets")
        check.close(mixed, kept, f"with lam={lam} the images should {what}")
        check.close(targets, rows, f"with lam={lam} the targets should {what}, as the images do")
    seen = mix.observe(images, labels, s.K, 0.3, order)
    check.true(not seen.draws, "mixup should leave nothing to chance: lam and order are given")
    mixed, targets = check.pair(seen.result, "the images and the targets")
    check.close(mixed, 0.3 * images + 0.7 * images[order], "the images should be λ·images + (1 - λ)·images[order]")
    check.close(targets, 0.3 * one_hot + 0.7 * one_hot[order], "the targets should be mixed as the images are")

    check.same(mix, images, labels, s.K, 0.8, order)
    alike = labels.clone()
    alike[order[0]] = alike[0]
    alike[order[1]] = alike[1]
    check.same(mix, images, alike, s.K, 0.3, order)
    check.same(mix, images, torch.full_like(labels, s.K - 1), s.K, 0.4, torch.arange(s.B))
    check.same(mix, images[:1], labels[:1], s.K, 0.6, torch.tensor([0]))
    check.dtypes(mix, images, labels, s.K, 0.3, order)

    s = check.sizes(B=13, K=7)
    logits, labels = 3 * check.randn("B K"), check.labels("B", n_classes=s.K)
    loss, hard = check.get("soft_cross_entropy"), check.solved("ch05_vit", "cross_entropy")
    one_hot = torch.nn.functional.one_hot(labels, s.K).float()
    soft = check.randn("B K").softmax(-1)
    check.shape(loss(logits, soft), "", "the loss")
    check.close(
        loss(torch.zeros(s.B, s.K), soft), torch.tensor(math.log(s.K)), "for equal logits the loss should be ln K"
    )
    shift = check.randn("B 1")
    check.close(
        loss(logits + shift, soft), loss(logits, soft), "adding a constant to an image's logits changes nothing"
    )
    check.close(loss(logits, one_hot), hard(logits, labels), "for hard targets the loss should be that of 5.2")
    for sign in (1, -1):
        huge = torch.full((1, s.K), -1e4 * sign)
        huge[0, 2] = 1e4 * sign
        for target in (one_hot[:1], soft[:1]):
            check.same(loss, huge, target, atol=1e-2)
    far_apart = logits.clone()
    far_apart[0], far_apart[1] = far_apart[0] + 1e4, far_apart[1] - 1e4
    check.same(loss, far_apart, soft, atol=1e-3)
    check.same(loss, logits, soft)
    check.same(loss, logits, 0.3 * one_hot + 0.7 * one_hot.flip(0))
    check.same(loss, logits[:1], soft[:1])
    check.gradients(loss, logits, soft, of=("input 1",))
    check.gradients(loss, logits, one_hot, of=("input 1",))
    check.dtypes(loss, logits, soft)


@pytest.mark.exercise("7.5")
def test_accumulated_step(check: Check) -> None:
    s = check.sizes(B=7, C=3, H=5, W=2, K=11)
    images, labels = 3 * check.randn("B C H W"), check.labels("B", n_classes=s.K)
    weight, bias = 0.05 * check.randn("K C*H*W"), check.randn("K")
    step = check.get("accumulated_step")

    def trained(
        micro_batch: int,
        steps: int = 1,
        momentum: float = 0.0,
        dtype: torch.dtype = torch.float32,
        **state: bool,
    ) -> tuple[Observation, Observation]:
        """What is observed of the last of some steps, of the learner's and of the reference's."""
        state = {"training": False, **state}
        model = check.build("probe", weight=weight.to(dtype), bias=bias.to(dtype), **state)
        optimizer = check.build("descent", of=model.name, lr=0.1, momentum=momentum)
        for _ in range(steps):
            request = step._request((model, images.to(dtype), labels, optimizer, micro_batch), {})
            right = check.reference.answer(request)
            seen = check.ask(request, expects="no reads")
            check.fine(step.name, seen)
        return seen, right

    seen, _ = trained(3)
    check.true(not seen.changed, "accumulated_step should leave images and labels as they are")
    steps = [event for event in seen.events if event["event"] == "step"]
    check.shape(seen.result, "", "the loss that accumulated_step returns")
    check.true(not any(seen.attached), "the loss should be detached from the graph: loss.detach()")
    check.true(
        not seen.reads,
        f"accumulated_step should not wait for the GPU: {' and '.join(seen.reads)} reads a value on the way",
        "The loss stays a tensor: loss.detach() reads nothing.",
    )
    check.true(
        len(steps) == 1,
        f"the optimizer that was given should take one step for the whole batch, and took {len(steps)}",
        "Gradients add up over the micro-batches; optimizer.step() comes once, after the loop.",
    )
    for micro_batch in (3, 2, 7, 100, 1):
        seen, right = trained(micro_batch)
        cut = f"7 images in micro-batches of {micro_batch}"
        forwards = [event for event in seen.events if event["event"] == "forward"]
        expected = [event for event in right.events if event["event"] == "forward"]
        largest = max((event["batch"] for event in forwards), default=0)
        check.true(
            largest <= micro_batch, f"no micro-batch should have more than {micro_batch} images; one has {largest}"
        )
        check.true(
            len(forwards) == len(expected) and sum(event["batch"] for event in forwards) == s.B,
            f"{cut}: the model should see each image once, in {len(expected)} micro-batches",
            f"it saw {sum(event['batch'] for event in forwards)} images in {len(forwards)}",
        )
        check.true(
            all(all(event["modes"].values()) for event in forwards),
            "the model should run in training mode, with all its modules: model.train()",
        )
        check.true(
            not any(event["saved"] for event in forwards),
            "an earlier micro-batch's graph is still in memory when the next one runs",
            "loss.backward() inside the loop, without retain_graph, frees what the forward pass kept.",
        )
        check.true(
            not any(event["graphs"] for event in forwards),
            "the graphs of earlier micro-batches are held on to: what is kept of a loss should be detached",
            "total = total + loss keeps the graph of every loss; loss.detach() is the number alone.",
        )
        wrong = [path or "the model" for path, on in seen.model["structure"]["modes"].items() if not on]
        check.true(not wrong, "the model should be left in training mode", f"not in it: {', '.join(wrong)}")
        check.close(
            seen.result,
            right.result,
            f"{cut}: the loss should be the mean over all images, from before the update",
        )
        updated(check, seen, right, {"linear.weight": weight, "linear.bias": bias}, cut)
    before = {"linear.weight": weight, "linear.bias": bias}
    updated(check, *trained(3, stale=True), before, "where there are old gradients, which should be cleared")
    updated(check, *trained(3, steps=2), before, "after two steps")
    updated(check, *trained(3, steps=3, momentum=0.9, training=True), before, "after three steps with momentum")
    seen, right = trained(3, dtype=torch.float64)
    check.close(seen.result, right.result, "in float64 the loss is wrong")
    updated(check, seen, right, {name: old.double() for name, old in before.items()}, "in float64")


def is_state(check: Check, name: str, state: Any) -> None:
    """What came back is a dict of tensors."""
    check.true(isinstance(state, dict), f"{name} should return a dict, and returned {described(state)}")
    for key, value in state.items():
        check.true(isinstance(value, Tensor), f"{key} in what {name} returns is no tensor but {described(value)}")


def same_state(
    check: Check, subject: Subject, *args: Any, when: str = "", near: float = 1e-5, **how: Any
) -> dict[str, Tensor]:
    """The state dict that comes back has the names, shapes, dtypes and values of the reference's."""
    mine: Any = subject.observe(*args, rtol=near, atol=near, **how).result
    is_state(check, subject.name, mine)
    expected = subject.expected(*args)
    missing, more = [name for name in expected if name not in mine], [name for name in mine if name not in expected]
    check.true(
        not missing and not more,
        f"the state dict has not the names that it should have{when}",
        "\n".join([*(f"missing:   {name}" for name in missing[:6]), *(f"not named: {name}" for name in more[:6])]),
    )
    for name, right in expected.items():
        own = mine.get(name, right)
        check.true(
            own.shape == right.shape,
            f"{name} has the wrong shape{when}",
            f"expected {tuple(right.shape)}\nyours    {tuple(own.shape)}",
        )
        check.close(own, right, f"{name} has the wrong values{when}", rtol=near, atol=near)
        check.true(own.dtype == right.dtype, f"{name} should stay {right.dtype}, and is {own.dtype}")
    return dict(mine)


def grouped(check: Check, groups: Any, names: list[str]) -> dict[str, dict[str, Any]]:
    """The group of each parameter, by the parameter's name: each stands in exactly one."""
    check.true(
        isinstance(groups, list), f"param_groups should return a list of dicts, and returned {described(groups)}"
    )
    found: dict[str, dict[str, Any]] = {}
    for group in groups:
        check.true(isinstance(group, dict), f"each group should be a dict, and one is {described(group)}")
        for key in ("params", "lr", "weight_decay"):
            check.true(key in group, f"each group should have {key!r}; one has {' and '.join(map(repr, group))} only")
        params = group.get("params")
        check.true(isinstance(params, list), f"params should be a list of parameters, and is {described(params)}")
        for part in params if isinstance(params, list) else []:
            check.true(
                isinstance(part, Part),
                f"params should hold the model's own parameters, and holds {described(part)}",
                "A copy, a name or .data is another thing: the optimizer would not change the model.",
            )
            if isinstance(part, Part):
                check.true(part.name not in found, f"{part.name} stands in the groups more than once")
                found[part.name] = group
    missing = [name for name in names if name not in found]
    check.true(not missing, f"{missing and missing[0]} stands in no group: each parameter should, a frozen one too")
    return found


def depth_of(name: str, n_layers: int) -> int:
    """How far below the head a parameter stands."""
    part, number, *_ = name.split(".")
    return {"head": 0, "norm": 0}.get(part, n_layers - int(number) if part == "blocks" else n_layers + 1)


def updated(check: Check, seen: Observation, right: Observation, before: Mapping[str, Tensor], when: str) -> None:
    """After the step, the weights are those of one step on the whole batch."""
    mine, expected = (one.model["values"] for one in (seen, right))
    for name, old in before.items():
        step, wanted = mine[name] - old, expected[name] - old
        check.close(
            step,
            wanted,
            f"{when}: the update of {name} should be that of one step on the whole batch, and is another",
            rtol=1e-3,
            diagnosis="it is no update at all" if not step.any() else "",
        )


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_the_originals_weights_give_the_originals_logits(positions: str, dtype: torch.dtype, near: float) -> None:
    s = Sizes(C=3, P=5, gh=2, gw=3, h=3, dh=7, ratio=2, K=11)
    shapes = {name: s.shape(shape) for name, shape in shapes_in_the_file(12).items()}
    checkpoint = {name: 0.2 * torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    model = VisionTransformer((10, 15), 5, 3, 11, 21, 11, 3, mlp_ratio=2, positions=positions).to(dtype)
    model.load_state_dict(from_jax(checkpoint, 11))
    images = torch.randn(2, 3, 10, 15, dtype=dtype)
    torch.testing.assert_close(model(images), original(checkpoint, images, 11), rtol=near, atol=near)


def test_an_adapted_state_starts_at_ln_k_and_gives_the_same_cls_for_the_same_grid() -> None:
    old = VisionTransformer((15, 10), 5, 3, 7, 21, 2, 3, positions="learned")
    images, labels = torch.randn(5, 3, 10, 20), torch.randint(11, (5,))
    new = VisionTransformer((10, 20), 5, 3, 11, 21, 2, 3, positions="learned")
    new.load_state_dict(adapt_state_dict(dict(old.named_parameters()), (3, 2), (2, 4), 11))
    assert cross_entropy(new(images), labels).item() == pytest.approx(math.log(11))
    same = copy.deepcopy(old)
    same.load_state_dict(adapt_state_dict(old.state_dict(), [3, 2], (3, 2), 7))
    old.head, same.head = nn.Identity(), nn.Identity()
    images = torch.randn(5, 3, 15, 10)
    assert torch.equal(same(images), old(images))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_step_with_the_groups_is_as_long_as_the_depth_says(positions: str) -> None:
    """The groups in torch's own optimizer; the depths by walking the modules, not by names."""
    model = VisionTransformer((15, 10), 5, 3, 7, 21, 12, 3, positions=positions)
    levels = [[model.head, model.norm], *([block] for block in reversed(model.blocks))]
    levels.append([model.patch_embedding, model.positional_encoding])
    before = copy.deepcopy(levels)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(param_groups(model, 0.1, 0.0, 0.5), lr=9.0).step()
    for k, (old, new) in enumerate(zip(before, levels, strict=True)):
        for one, other in zip(old, new, strict=True):
            for start, end in zip(one.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(start - end, torch.full_like(start, 0.1 * 0.5**k))


def test_layer_norms_biases_and_tokens_do_not_decay() -> None:
    model = VisionTransformer((15, 10), 5, 3, 7, 21, 2, 3, positions="learned")
    decaying = {id(p) for group in param_groups(model, 0.1, 0.3) if group["weight_decay"] for p in group["params"]}
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert decaying == {id(layer.weight) for layer in layers}


def test_mixup_is_a_weighted_sum_image_by_image() -> None:
    images, labels, order = torch.randn(5, 3, 7, 2), torch.tensor([0, 6, 3, 3, 1]), torch.tensor([2, 0, 3, 1, 4])
    mixed, targets = mixup(images, labels, 7, 0.3, order)
    for i, partner in enumerate(order.tolist()):
        torch.testing.assert_close(mixed[i], 0.3 * images[i] + 0.7 * images[partner])
        expected = [0.3 * (labels[i] == k) + 0.7 * (labels[partner] == k) for k in range(7)]
        torch.testing.assert_close(targets[i], torch.tensor(expected))


def test_soft_cross_entropy_is_torchs() -> None:
    logits, targets = 3 * torch.randn(13, 7), torch.randn(13, 7).softmax(-1)
    torch.testing.assert_close(soft_cross_entropy(logits, targets), F.cross_entropy(logits, targets))
    huge = 1e4 * torch.tensor([[1.0, -1.0, 0.0]])
    targets = torch.tensor([[0.2, 0.5, 0.3]])
    torch.testing.assert_close(soft_cross_entropy(huge, targets), F.cross_entropy(huge, targets))


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 7, 100])
def test_a_step_in_micro_batches_is_the_step_on_the_whole_batch(micro_batch: int) -> None:
    """In float64, also with AdamW; in float32 AdamW turns the rounding of a gradient that is 0 into whole steps."""
    images, labels = torch.randn(7, 3, 10, 15, dtype=torch.float64), torch.randint(11, (7,))
    ours = VisionTransformer((10, 15), 5, 3, 11, 12, 2, 3).double().eval()
    with torch.no_grad():
        ours.positional_encoding.cls_token.normal_()
    whole = copy.deepcopy(ours)
    kind = torch.optim.AdamW if micro_batch == 3 else torch.optim.SGD
    our_optimizer, optimizer = (kind(model.parameters(), lr=1e-2) for model in (ours, whole))
    for _ in range(2):
        loss = accumulated_step(ours, images, labels, our_optimizer, micro_batch)
        torch.testing.assert_close(loss, train_step(whole, images, labels, optimizer))
        assert not loss.requires_grad
    assert ours.training
    for mine, expected in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)


def test_no_more_than_one_graph_is_kept() -> None:
    events: list[dict[str, Any]] = []
    model = Probe(42, 11, events)
    images, labels = torch.randn(7, 3, 7, 2), torch.randint(11, (7,))
    accumulated_step(model, images, labels, torch.optim.SGD(model.parameters(), lr=0.1), 2)
    assert [(event["batch"], event["saved"], event["graphs"]) for event in events] == [(2, 0, 0)] * 3 + [(1, 0, 0)]


def test_nothing_is_made_on_another_device_on_the_way() -> None:
    """The meta device stands in for a GPU: a tensor made on the CPU halfway would not mix with it."""
    s = Sizes(C=3, P=5, gh=2, gw=3, h=3, dh=7, ratio=2, K=11)
    checkpoint = {name: torch.randn(s.shape(shape), device="meta") for name, shape in shapes_in_the_file(1).items()}
    state = adapt_state_dict(from_jax(checkpoint, 1), (2, 3), (3, 4), 7)
    assert {tensor.device.type for tensor in state.values()} == {"meta"}
    model = VisionTransformer((15, 20), 5, 3, 7, 21, 1, 3, mlp_ratio=2).to("meta")
    images, labels = torch.randn(5, 3, 15, 20, device="meta"), torch.zeros(5, dtype=torch.long, device="meta")
    mixed, targets = mixup(images, labels, 7, 0.3, labels)
    assert soft_cross_entropy(model(mixed), targets).device.type == "meta"
    optimizer = torch.optim.SGD(param_groups(model, 0.1, 0.1))
    assert accumulated_step(model, images, labels, optimizer, 2).device.type == "meta"
