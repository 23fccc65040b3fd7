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
from torch.overrides import TorchFunctionMode

from solutions.ch01_patches import conv_to_linear
from solutions.ch02_tokens import resize_positions
from solutions.ch05_vit import VisionTransformer, cross_entropy, evaluate, train_step, warmup_cosine
from vitcourse.checking.check import Check


@pytest.mark.exercise("5.1")
def test_vision_transformer(check: Check) -> None:
    s = check.sizes(B=2, C=3, P=5, gh=3, gw=2, h=3, dh=7, L=2, K=11)
    images = check.randn("B C H W")
    arguments: dict[str, Any] = {
        "image_size": (s.H, s.W), "patch_size": s.P, "in_channels": s.C, "n_classes": s.K,
        "d_model": s.D, "n_layers": s.L, "n_heads": s.h, "mlp_ratio": 2,
    }  # fmt: skip
    vit = check.module("VisionTransformer", **arguments)

    logits = vit(images)
    check.shape(logits, "B K", "the logits")
    check.true(
        isinstance(vit.mine.blocks, nn.ModuleList | nn.Sequential) and len(vit.mine.blocks) == s.L,
        f"blocks should be a module list of n_layers={s.L} encoder blocks",
    )
    check.shape(vit.mine.positional_encoding.positions, "1 T D", "positional_encoding.positions")
    check.independent(vit, images)
    swapped = images.clone()
    swapped[:, :, : s.P], swapped[:, :, s.P : 2 * s.P] = images[:, :, s.P : 2 * s.P], images[:, :, : s.P]
    check.true(
        not torch.allclose(vit(swapped), logits, rtol=1e-3, atol=1e-3),
        "with positions, the logits should change when patches change places",
    )

    check.same(vit, images)
    learned = check.module("VisionTransformer", **{**arguments, "positions": "learned"})
    check.same(learned, images)
    square = check.module("VisionTransformer", **{**arguments, "image_size": 10})
    check.same(square, images[:, :, :10])
    check.gradients(vit, images)
    check.gradients(learned, images)
    check.dtypes(vit, images)

    dropping = check.module("VisionTransformer", **arguments, dropout=0.3)
    check.true(
        not torch.allclose(dropping(images), dropping(images)), "in training, with dropout, two calls should differ"
    )
    dropping.mine.eval(), dropping.reference.eval()
    check.same(dropping, images)

    kind = check.get("VisionTransformer")
    check.raises(kind, **{**arguments, "image_size": (s.H, s.W - 1)}, naming=(s.H, s.W - 1, s.P))
    check.raises(kind, **{**arguments, "image_size": (s.H - 1, s.W)}, naming=(s.H - 1, s.W, s.P))
    check.raises(kind, **{**arguments, "image_size": 11}, naming=(11, s.P))
    check.raises(kind, **{**arguments, "n_heads": 4})
    check.raises(kind, **{**arguments, "positions": "rotary"})


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
    check.dtypes(loss, logits, labels)


@pytest.mark.exercise("5.3")
def test_warmup_cosine(check: Check) -> None:
    factor = check.get("warmup_cosine")

    check.close(factor(0, 7, 31), 0.0, "step 0 of a warm-up should give 0")
    check.close(factor(7, 7, 31), 1.0, "the end of the warm-up should give 1")
    check.close(factor(19, 7, 31), 0.5, "halfway between warm-up and end the factor should be 0.5")
    check.close(factor(31, 7, 31), 0.0, "the end should give 0")
    check.close(factor(50, 7, 31), 0.0, "after the end the factor should stay 0")
    check.close(factor(0, 0, 31), 1.0, "without a warm-up the factor should start at 1")
    rising = [float(factor(step, 7, 31)) for step in range(8)]
    check.close(rising, [step / 7 for step in range(8)], "the warm-up should be a straight line")
    for warmup_steps in (0, 7):
        mine = [float(factor(step, warmup_steps, 31)) for step in range(40)]
        expected = [factor.expected(step, warmup_steps, 31) for step in range(40)]
        check.close(mine, expected, f"warmup_cosine(step, {warmup_steps}, 31) returns wrong values (index: the step)")


@pytest.mark.exercise("5.4")
def test_train_step(check: Check) -> None:
    s = check.sizes(B=5, C=3, H=7, W=2, K=11)
    images, labels = check.randn("B C H W"), check.labels("B", n_classes=11)
    step = check.get("train_step")
    model = Probe(s.C * s.H * s.W, s.K)
    model.eval()
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    updates: list[int] = []
    optimizer.register_step_pre_hook(lambda *_: updates.append(1))

    with Synchronisations() as synchronisations:
        loss = on_the_real(step, model, images, labels, optimizer)
    check.shape(loss, "", "the loss that train_step returns")
    check.true(not loss.requires_grad, "the loss should be detached from the graph")
    check.true(
        not synchronisations.seen,
        f"train_step should not wait for the GPU, and calls {', '.join(synchronisations.seen)}",
        "The loss stays a tensor: loss.detach(), not loss.item().",
    )
    check.true(model.modes == [True], "the model should run once, in training mode")
    check.true(len(updates) == 1, f"the optimizer should take one step, and took {len(updates)}")
    expected = F.cross_entropy(before(images), labels)
    check.close(loss, expected, "the loss should be the cross-entropy from before the update")

    twin = copy.deepcopy(before)
    expected.backward()
    for (name, old), new in zip(before.named_parameters(), model.parameters(), strict=True):
        check.close(new, old - 0.1 * old.grad, f"after one step of SGD, {name} should be w - lr·gradient")
    for _ in range(2):
        on_the_real(step, twin, images, labels, twin_optimizer(twin))
    again = copy.deepcopy(before)
    for _ in range(2):
        check.solved("ch05_vit", "train_step")(again, images, labels, twin_optimizer(again))
    for (name, mine), reference in zip(twin.named_parameters(), again.parameters(), strict=True):
        check.close(mine, reference, f"after two steps {name} is wrong: are old gradients cleared?")

    model.reset()
    loss = on_the_real(step, model, images, labels, optimizer, torch.bfloat16)
    check.true(model.dtypes == [torch.bfloat16], "with amp_dtype the forward pass should run under autocast")
    check.true(loss.dtype == torch.float32, "with amp_dtype the loss should come from float32 logits")
    check.true(
        all(parameter.dtype == torch.float32 for parameter in model.parameters()), "the weights should stay float32"
    )
    model.reset()
    on_the_real(step, model, images, labels, optimizer)
    check.true(model.dtypes == [torch.float32], "without amp_dtype the forward pass should not run under autocast")


@pytest.mark.exercise("5.5")
def test_evaluate(check: Check) -> None:
    s = check.sizes(B=13, C=3, H=7, W=2, K=11)
    images = check.randn("B C H W")
    measure = check.get("evaluate")
    model = Probe(s.C * s.H * s.W, s.K)
    model.eval()
    labels = model(images).argmax(-1)
    labels[[0, 5, 12]] = (labels[[0, 5, 12]] + 1) % s.K  # three of thirteen are wrong, one of them in the last batch
    before = copy.deepcopy(model.state_dict())

    for mode in (True, False):
        for batch_size in (5, 13, 1, 100):
            model.train(mode)
            model.reset()
            accuracy = on_the_real(measure, model, images, labels, batch_size)
            check.true(type(accuracy) is float, f"the accuracy should be a float, and is a {type(accuracy).__name__}")
            check.close(
                accuracy, 10 / 13, f"10 of 13 are right, in batches of {batch_size} (the last partial batch counts)"
            )
            check.true(not any(model.modes), "the model should run in evaluation mode")
            check.true(not any(model.gradients), "the model should run without gradients")
            check.true(max(model.batches) <= batch_size, f"no batch should be larger than batch_size={batch_size}")
            check.true(model.training == mode, "the mode in which the model came should be restored")
    check.true(
        all(torch.equal(before[name], value) for name, value in model.state_dict().items()),
        "evaluating should leave the model's weights as they are",
    )
    check.true(torch.is_grad_enabled(), "after evaluate, gradients should be enabled again")


class Probe(nn.Module):
    """A linear classifier that notes how it was run."""

    def __init__(self, n_pixels: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_pixels, n_classes)
        self.reset()

    def reset(self) -> None:
        """Forget the notes."""
        self.modes: list[bool] = []
        self.gradients: list[bool] = []
        self.dtypes: list[torch.dtype] = []
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        logits = self.linear(images.flatten(1))
        self.modes.append(self.training)
        self.gradients.append(torch.is_grad_enabled())
        self.dtypes.append(logits.dtype)
        self.batches.append(len(images))
        return logits


class Synchronisations(TorchFunctionMode):
    """Notes each call that would make the CPU wait for a GPU."""

    waiting = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass the call on."""
        if func.__name__ in self.waiting:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def on_the_real(subject: Any, *args: Any) -> Any:
    """Call a learner's function on the things themselves: a training step is meant to change its model."""
    return subject.check.guarded(subject.name, lambda: subject.mine(*args))


def twin_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Plain gradient descent."""
    return torch.optim.SGD(model.parameters(), lr=0.1)


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
    model = Probe(42, 11)
    loss = train_step(model, images, labels, torch.optim.SGD(model.parameters(), lr=0.1), torch.bfloat16)
    assert model.dtypes == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert model.linear.weight.dtype == torch.float32


@pytest.mark.parametrize("batch_size", [1, 5, 13, 100])
@pytest.mark.parametrize("mode", [True, False])
def test_accuracy_is_the_share_of_right_answers(batch_size: int, mode: bool) -> None:
    images = torch.randn(13, 3, 7, 2)
    model = Probe(42, 11).train(mode)
    labels = model(images).argmax(-1)
    labels[[0, 5, 12]] = (labels[[0, 5, 12]] + 1) % 11
    model.reset()
    accuracy = evaluate(model, images, labels, batch_size)
    assert type(accuracy) is float
    assert accuracy == pytest.approx(10 / 13)
    assert not any(model.modes)
    assert not any(model.gradients)
    assert max(model.batches) <= batch_size
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


def test_the_whole_model_compiles_as_one_graph() -> None:
    images = torch.randn(2, 3, 15, 10)
    model = VisionTransformer((15, 10), 5, 3, 11, 21, 2, 3)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), model(images), rtol=1e-4, atol=1e-5)
