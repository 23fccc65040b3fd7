"""Chapter 5: the checks of its exercises, and the references held against torch's loss, optimizers and schedulers.

The whole model is held against torchvision's in test_weights.py.
"""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solutions.ch01_patches import conv_to_linear
from solutions.ch02_tokens import resize_positions
from solutions.ch05_vit import VisionTransformer, cross_entropy, evaluate, train_step, warmup_cosine
from vitcourse.checking.check import NORMS, Check
from vitcourse.checking.subjects import Module
from vitcourse.worker.things import Probe
from vitcourse.worker.workshop import Observation


@pytest.mark.exercise("5.1")
def test_vision_transformer(check: Check) -> None:
    s = check.sizes(B=4, C=13, P=5, gh=7, gw=3, h=6, dh=14, L=2, K=11)
    images = check.randn("B C H W")
    arguments: dict[str, Any] = {
        "image_size": (s.H, s.W), "patch_size": s.P, "in_channels": s.C, "n_classes": s.K,
        "d_model": s.D, "n_layers": s.L, "n_heads": s.h, "mlp_ratio": 8,
    }  # fmt: skip
    check.norms = NORMS
    vit = check.module("VisionTransformer", **arguments)

    logits = vit(images)
    check.shape(logits, "B K", "the logits")
    check.steady(vit, images)
    blocks = vit.part("blocks")
    check.true(
        {"ModuleList", "Sequential"} & set(blocks.get("torch", ())) and blocks["length"] == s.L,
        f"blocks should be a module list of n_layers={s.L} encoder blocks",
    )
    check.shape(vit.values()[POSITIONS], "1 T D", POSITIONS)
    check.independent(vit, images)
    swapped = images.clone()
    swapped[:, :, : s.P], swapped[:, :, s.P : 2 * s.P] = images[:, :, s.P : 2 * s.P], images[:, :, : s.P]
    check.true(
        not torch.allclose(vit(swapped), logits, rtol=1e-3, atol=1e-3),
        "the logits should change when patches change places: do positions and blocks reach the head?",
    )

    check.same(vit, images, **NORMS)
    learned = check.module("VisionTransformer", **{**arguments, "positions": "learned", "n_layers": 1})
    check.same(learned, images, **NORMS)
    usual = {name: value for name, value in arguments.items() if name != "mlp_ratio"}  # its default is asked for
    square = check.module("VisionTransformer", **{**usual, "image_size": s.W})
    check.same(square, images[:, :, : s.W], **NORMS)
    check.gradients(vit, images, near=2e-3)
    check.gradients(learned, images, near=2e-3)
    check.dtypes(vit, images, **NORMS)

    wide = {**arguments, "n_classes": 47, "d_model": 8 * s.h, "positions": "learned", "dropout": 0.3}
    # Tokens of ones go through silent blocks, and the head shows what is left of them.
    plain = zeroed(check.module("VisionTransformer", **wide), *TOKENS, *BRANCHES, "norm.bias", "head.bias")
    plain.load(norm__weight=torch.ones(8 * s.h), head__weight=torch.eye(47, 8 * s.h))
    plain.load(positional_encoding__cls_token=torch.ones(1, 1, 8 * s.h))
    logits = plain(check.inputs.randn((31, *images.shape[1:])))
    check.dropped(logits < 0, 0.3, "the tokens, after the positions are added,")
    check.true(not bool((logits == 0).any()), "in training, no further dropout should stand before the head")
    # Tokens of zeros go in, and the first block adds ones: only that block drops some of them.
    plain.load(positional_encoding__cls_token=torch.zeros(1, 1, 8 * s.h))
    plain.load(blocks__0__attention__out__bias=torch.ones(8 * s.h))
    added = plain(check.inputs.randn((29, *images.shape[1:])))
    check.dropped(added < 0, 0.3, "what the first block's attention adds")
    # What is added, patch and position, is dropped together: so their gradients are the same.
    gradients = check.module("VisionTransformer", **wide).gradients(images)[0].gradients
    patches, positions = (gradients.get(name) for name in ("patch_embedding.projection.bias", POSITIONS))
    if isinstance(patches, Tensor) and isinstance(positions, Tensor):
        most = 1e-3 * float(positions.abs().max())
        headline = "in training, no dropout should stand before the positions are added: once is enough, after it"
        check.close(positions[0, 1:].sum(0), patches, headline, rtol=1e-3, atol=most)
    # Tokens of zeros go into the blocks: what varies comes from dropout in there.
    silent = zeroed(check.module("VisionTransformer", **wide), *TOKENS)
    check.true(
        not torch.allclose(silent(images), silent(images)),
        "in training with dropout=0.3, dropout should be in every block too: is it handed on to them?",
    )
    dropping = check.module("VisionTransformer", **arguments, dropout=0.3).train(False)
    check.steady(dropping, images, "in evaluation mode")
    check.same(dropping, images, **NORMS)

    kind = check.get("VisionTransformer")
    for wrong in (
        {"image_size": (s.P**2, s.W - 1)}, {"image_size": (s.H - 1, s.W)}, {"image_size": 11},
        {"n_heads": 5}, {"positions": "rotary"},
    ):  # fmt: skip
        check.raises(kind, **{**arguments, **wrong})


@pytest.mark.exercise("5.2")
def test_cross_entropy(check: Check) -> None:
    s = check.sizes(B=13, K=7)
    logits, labels = 3 * check.randn("B K"), check.labels("B", n_classes=7)
    loss = check.get("cross_entropy")

    check.shape(loss(logits, labels), "", "the loss")
    check.close(
        loss(torch.zeros(s.B, s.K), labels), torch.tensor(math.log(s.K)), "for equal logits the loss should be ln K"
    )
    shift = check.randn("B 1")
    check.close(
        loss(logits + shift, labels), loss(logits, labels), "adding a constant to an image's logits changes nothing"
    )
    for sign in (1, -1):
        huge = torch.full((1, s.K), -1e4 * sign)
        huge[0, 2] = 1e4 * sign
        check.same(loss, huge, torch.tensor([2]))
        check.same(loss, huge, torch.tensor([3]), 0.1)

    far_apart = logits.clone()
    far_apart[0], far_apart[1] = far_apart[0] + 1e4, far_apart[1] - 1e4
    check.same(loss, far_apart, labels, atol=1e-3)
    check.same(loss, logits, labels)
    check.same(loss, logits, labels, label_smoothing=0.1)
    check.same(loss, logits, labels, label_smoothing=1.0)
    check.same(loss, logits[:1], labels[:1])
    check.gradients(loss, logits, labels)
    check.gradients(loss, logits, labels, label_smoothing=0.1)
    check.dtypes(loss, logits, labels, or_float32=True)


@pytest.mark.exercise("5.3")
def test_warmup_cosine(check: Check) -> None:
    factor = check.get("warmup_cosine")

    for step in (0, 3, 7, 19, 31, 40):
        value = factor(step, 7, 31)
        check.true(value is not None, f"warmup_cosine({step}, 7, 31) is None: on that way the return is missing")
        check.true(type(value) in (float, int), f"the factor should be a Python float, and is {described(value)}")
    check.close(factor(0, 7, 31), 0.0, "step 0 of a warm-up should give 0")
    check.close(factor(7, 7, 31), 1.0, "the end of the warm-up should give 1")
    check.close(factor(19, 7, 31), 0.5, "halfway between warm-up and end the factor should be 0.5")
    check.close(factor(31, 7, 31), 0.0, "the end should give 0", atol=1e-8)
    check.close(factor(50, 7, 31), 0.0, "after the end the factor should stay 0", atol=1e-8)
    check.close(factor(0, 0, 31), 1.0, "without a warm-up the factor should start at 1")
    rising = [factor(step, 7, 31) for step in range(8)]
    check.close(rising, [step / 7 for step in range(8)], "the warm-up should be a straight line")
    for warmup_steps in (0, 7):
        for step in range(40):
            expected, value = factor.expected(step, warmup_steps, 31), factor(step, warmup_steps, 31)
            check.close(
                value,
                expected,
                f"warmup_cosine(step={step}, warmup_steps={warmup_steps}, total_steps=31) is wrong",
                diagnosis="after the end" if step > 31 else "warm-up" if step < warmup_steps else "on the way down",
            )


@pytest.mark.exercise("5.4")
def test_train_step(check: Check) -> None:
    s = check.sizes(B=5, C=3, H=7, W=2, K=11)
    images, labels = 9 * check.randn("B C H W"), check.labels("B", n_classes=s.K)
    weight, bias = 0.02 * check.randn("K C*H*W"), check.randn("K")
    step = check.get("train_step")

    def trained(
        *more: Any, steps: int = 1, momentum: float = 0.0, training: bool = False
    ) -> tuple[Observation, Observation]:
        """What is observed of the last of some steps, of the learner's and of the reference's."""
        model = check.build("probe", weight=weight, bias=bias, training=training)
        optimizer = check.build("descent", of=model.name, lr=0.1, momentum=momentum)
        for _ in range(steps):
            request = step._request((model, images, labels, optimizer, *more), {})
            right = check.reference.answer(request)
            seen = check.ask(request, expects="no reads")
            check.fine(step.name, seen)
        return seen, right

    seen, right = trained()
    forwards = [event for event in seen.events if event["event"] == "forward"]
    steps = [event for event in seen.events if event["event"] == "step"]
    check.shape(seen.result, "", "the loss that train_step returns")
    check.true(not any(seen.attached), "the loss should be detached from the graph: loss.detach()")
    check.true(
        not seen.reads,
        f"train_step should not wait for the GPU: {' and '.join(seen.reads)} reads a value on the way",
        "The loss stays a tensor: loss.detach() reads nothing.",
    )
    check.true(len(forwards) == 1, f"the model should run once, and ran {len(forwards)} times")
    check.true(
        all(forwards[0]["modes"].values()),
        "the model should run in training mode, with all its modules: model.train()",
    )
    check.true(
        len(steps) == 1,
        f"the optimizer that was given should take one step, and took {len(steps)}",
        "optimizer, the argument, is what changes the weights: an optimizer of its own would lose its state."
        * (not steps),
    )
    check.true(
        forwards[0]["dtype"] == torch.float32,
        "without amp_dtype the forward pass should not run under autocast: here it is always on",
    )
    check.close(
        seen.result,
        right.result,
        "the loss should be the cross-entropy of the batch, its mean over the images, from before the update",
    )
    mine, expected = (one.model["values"] for one in (seen, right))
    before = {"linear.weight": weight, "linear.bias": bias}
    for name, old in before.items():
        check.close(
            mine[name],
            expected[name],
            f"after one step of SGD, {name} should be w - lr·gradient, and is another",
            diagnosis=about_step(seen, mine[name] - old, expected[name] - old),
        )
    mine, expected = (one.model["values"] for one in trained(steps=2))
    for name in before:
        check.close(mine[name], expected[name], f"after two steps {name} is wrong: are old gradients cleared?")
    mine, expected = (one.model["values"] for one in trained(steps=3, momentum=0.9))
    for name in before:
        check.close(mine[name], expected[name], f"after three steps with momentum {name} is wrong")

    seen, right = trained(torch.bfloat16, steps=2)
    forwards = [event for event in seen.events if event["event"] == "forward"]
    check.true(
        [event["dtype"] for event in forwards] == [torch.bfloat16],
        "with amp_dtype the forward pass should run under autocast in that dtype",
    )
    check.true(
        isinstance(seen.result, Tensor) and seen.result.dtype == torch.float32,
        "with amp_dtype the loss should come from float32 logits",
    )
    check.close(seen.result, right.result, "with amp_dtype the loss should be that of the same logits", 0.05, 0.05)
    mine, expected = (one.model["values"] for one in (seen, right))
    for name, old in before.items():
        change, size = expected[name] - old, float((expected[name] - old).abs().max())
        check.close(mine[name] - old, change, f"with amp_dtype {name} is wrong after two steps", 0.05, 0.05 * size)
    held = seen.model["structure"]["parameters"]
    check.true(
        all(parameter["dtype"] == torch.float32 for parameter in held.values()), "the weights should stay float32"
    )
    seen, right = trained(torch.bfloat16)
    coarse = [one.result.bfloat16().float().equal(one.result) for one in (seen, right)]
    check.true(
        coarse != [True, False],
        "with amp_dtype the loss should come from float32 logits",
        "It is a number that bfloat16 has, cast afterwards: float() belongs before the loss.",
    )
    for amp_dtype in (torch.float16, None):
        seen, right = trained(amp_dtype, training=True)
        mine, expected = ([event["dtype"] for event in one.events if "dtype" in event] for one in (seen, right))
        check.true(mine == expected, f"with amp_dtype={amp_dtype} the forward pass should run in that dtype, no other")


@pytest.mark.exercise("5.5")
def test_evaluate(check: Check) -> None:
    check.sizes(B=13, C=3, H=7, W=2, K=11)
    images = check.randn("B C H W")
    weight, bias = 0.2 * check.randn("K C*H*W"), check.randn("K")
    measure = check.get("evaluate")
    logits = images.flatten(1) @ weight.T + bias
    labels = logits.argmax(-1)
    order = logits.argsort(-1, descending=True)
    # Three of thirteen are wrong, one of them in the last batch: the second best, the third best and the worst.
    labels[0], labels[5], labels[12] = order[0, 1], order[5, 2], order[12, -1]

    for mode in (True, False):
        for batch_size in (5, 13, 1, 100):
            model = check.build("probe", weight=weight, bias=bias, training=mode)
            check.reference.answer(measure._request((model, images, labels, batch_size), {}))
            seen = measure.observe(model, images, labels, batch_size)
            forwards = [event for event in seen.events if event["event"] == "forward"]
            check.true(
                not isinstance(seen.result, Tensor) and type(seen.result) is float,
                f"the accuracy should be a float, and is {described(seen.result)}",
            )
            rest = f"batches of {batch_size}, the last of them with {13 % batch_size or batch_size}"
            accuracy = seen.result if type(seen.result) is float else math.nan
            check.true(
                abs(accuracy - 10 / 13) < 1e-5,
                f"10 of 13 images are right, an accuracy of {10 / 13:.4f}, in {rest}; yours is {accuracy:.4f}",
                "The accuracy is a share between 0 and 1, of the number of images."
                if accuracy > 1
                else f"The model saw {sum(event['batch'] for event in forwards)} images in {len(forwards)} batches.",
            )
            training = sorted({path or "the model itself" for e in forwards for path, on in e["modes"].items() if on})
            check.true(
                not training,
                "the model should run in evaluation mode, with every module inside it: model.eval()",
                f"still in training mode: {', '.join(training)}",
            )
            check.true(not any(event["gradients"] for event in forwards), "the model should run without gradients")
            check.true(
                all(event["batch"] <= batch_size for event in forwards),
                f"no batch should be larger than batch_size={batch_size}",
            )
            state = seen.things[model.name]
            wrong = [path or "the model" for path, on in state["structure"]["modes"].items() if on != mode]
            check.true(
                not wrong,
                f"the mode in which the model came ({'training' if mode else 'evaluation'}) should be restored",
                f"in another mode after the call: {', '.join(wrong)}",
            )
            check.close(
                state["values"]["linear.weight"], weight, "evaluating should leave the model's weights as they are"
            )
    probe = check.build("probe", weight=weight, bias=bias, training=False)
    for label in (0, 10):
        share = float((logits.argmax(-1) == label).double().mean())
        check.close(
            measure(probe, images, torch.full((13,), label), 4),
            share,
            f"where all labels are {label}, those of class {label} are right",
        )
    check.close(
        measure(probe, images[:9], logits.argmax(-1)[:9], 4), 1.0, "where every image is right the accuracy should be 1"
    )


def described(value: Any) -> str:
    """What a value is that should be a float."""
    if isinstance(value, Tensor):
        return f"a tensor (of shape {tuple(value.shape)}): a tensor with one number is still a tensor"
    return "None: a return is missing" if value is None else f"a {getattr(value, 'kind', type(value).__name__)}"


def about_step(seen: Observation, mine: Tensor, expected: Tensor) -> str:
    """In what a step differs from the right one, and what was seen on the way that explains it."""
    order = [event["event"] for event in seen.events]
    ready = any(event["event"] == "step" and event["ready"] for event in seen.events)
    if float(mine.abs().max()) == 0:
        if "backward" not in order:
            return "no gradient reached the model: loss.backward() is missing, or the loss is cut from the graph"
        if order.index("step") < order.index("backward"):
            return "optimizer.step() comes before loss.backward(), and so has no gradients to use"
        if not ready:
            return "the gradients are cleared after backward, before the optimizer uses them"
        return "it didn't change at all"
    factor = float((mine * expected).sum() / (expected * expected).sum())
    if abs(factor) > 1e-4 and torch.allclose(mine, factor * expected, rtol=1e-3, atol=1e-5):
        return (
            f"the step goes the right way, and is {factor:.3g} times as long: "
            "is the loss or its gradient scaled, or is the gradient clipped?"
        )
    return ""


# What makes the tokens, and what ends the branches of a block.
TOKENS = ("patch_embedding", "cls_token", "positions")
BRANCHES = ("attention.out", "mlp.fc2")
POSITIONS = "positional_encoding.positions"


def zeroed(model: Module, *words: str) -> Module:
    """The model with zeros in all parameters whose names hold one of the words."""
    values = model.values()
    return model.load(**{name: 0 * value for name, value in values.items() if any(word in name for word in words)})


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    logits, labels = 3 * torch.randn(13, 7), torch.randint(7, (13,))
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(logits, labels, smoothing), expected)
    huge = 1e4 * torch.tensor([[1.0, -1.0, 0.0]])
    for label in range(3):
        label_tensor = torch.tensor([label])
        expected = F.cross_entropy(huge, label_tensor, label_smoothing=smoothing)
        torch.testing.assert_close(cross_entropy(huge, label_tensor, smoothing), expected)


@pytest.mark.parametrize("warmup_steps", [0, 7])
def test_the_schedule_is_torchs_warmup_and_cosine(warmup_steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=31 - warmup_steps)
    for step in range(31):
        if step < warmup_steps:
            assert warmup_cosine(step, warmup_steps, 31) == pytest.approx(step / warmup_steps)
        else:
            assert warmup_cosine(step, warmup_steps, 31) == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            cosine.step()
    assert warmup_cosine(31, warmup_steps, 31) == warmup_cosine(99, warmup_steps, 31) == 0


def test_two_training_steps_are_the_usual_loop() -> None:
    images, labels = torch.randn(5, 3, 10, 15), torch.randint(7, (5,))
    ours = VisionTransformer((10, 15), 5, 3, 7, 12, 2, 3)
    usual = copy.deepcopy(ours)
    our_optimizer = torch.optim.SGD(ours.parameters(), lr=1e-2, momentum=0.9)
    usual_optimizer = torch.optim.SGD(usual.parameters(), lr=1e-2, momentum=0.9)
    ours.eval()
    for _ in range(2):
        loss = train_step(ours, images, labels, our_optimizer)
        usual_optimizer.zero_grad()
        expected = F.cross_entropy(usual(images), labels)
        expected.backward()
        usual_optimizer.step()
        torch.testing.assert_close(loss, expected.detach())
        assert not loss.requires_grad
        assert loss.shape == ()
    assert ours.training
    for mine, reference in zip(ours.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(mine, reference)


def test_autocast_reaches_the_forward_pass_alone() -> None:
    images, labels = torch.randn(5, 3, 7, 2), torch.randint(11, (5,))
    events: list[dict[str, Any]] = []
    model = Probe(42, 11, events)
    loss = train_step(model, images, labels, torch.optim.SGD(model.parameters(), lr=0.1), torch.bfloat16)
    assert [event["dtype"] for event in events] == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert model.linear.weight.dtype == torch.float32


@pytest.mark.parametrize("batch_size", [1, 5, 13, 100])
@pytest.mark.parametrize("mode", [True, False])
def test_accuracy_is_the_share_of_right_answers(batch_size: int, mode: bool) -> None:
    images = torch.randn(13, 3, 7, 2)
    events: list[dict[str, Any]] = []
    model = Probe(42, 11, events).train(mode)
    labels = model(images).argmax(-1)
    labels[[0, 5, 12]] = (labels[[0, 5, 12]] + 1) % 11
    events.clear()
    accuracy = evaluate(model, images, labels, batch_size)
    assert type(accuracy) is float
    assert accuracy == pytest.approx(10 / 13)
    assert not any(any(event["modes"].values()) or event["gradients"] for event in events)
    assert max(event["batch"] for event in events) <= batch_size
    assert model.training == mode


def test_sizes_that_do_not_fit_are_refused_when_the_model_is_made() -> None:
    with pytest.raises(ValueError, match=r"15.*10.*4"):
        VisionTransformer((15, 10), 4, 3, 11, 21, 2, 3)
    with pytest.raises(ValueError, match=r"21.*4"):
        VisionTransformer((15, 10), 5, 3, 11, 21, 2, 4)
    with pytest.raises(ValueError, match="rotary"):
        VisionTransformer((15, 10), 5, 3, 11, 21, 2, 3, positions="rotary")


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_nothing_is_made_on_another_device_on_the_way(positions: str) -> None:
    """The meta device stands in for a GPU: a tensor made on the CPU halfway would not mix with it."""
    model = VisionTransformer((15, 10), 5, 3, 11, 21, 2, 3, positions=positions).to("meta")
    images, labels = torch.randn(2, 3, 15, 10, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    loss = cross_entropy(model(images), labels, 0.1)
    loss.backward()
    assert loss.device.type == "meta"
    assert all(parameter.grad.device.type == "meta" for parameter in model.parameters())
    assert conv_to_linear(model.patch_embedding.projection).weight.device.type == "meta"
    assert resize_positions(model.positional_encoding.positions, (3, 2), (5, 7)).device.type == "meta"


@pytest.mark.thorough
def test_the_whole_model_compiles_as_one_graph() -> None:
    images = torch.randn(2, 3, 15, 10)
    model = VisionTransformer((15, 10), 5, 3, 11, 21, 2, 3)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), model(images), rtol=1e-4, atol=1e-5)
