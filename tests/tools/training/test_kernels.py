"""A twin computes the same as a model with less work, anyone's model, or it isn't used."""

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitcourse.codesets import load_code
from vitcourse.places import root
from vitcourse.training import kernels
from vitcourse.training.kernels import PARTS, attend, twin_of

CODES = ["solutions", *(str(root() / "tests" / "tools" / "alternatives" / name) for name in ("one", "two", "three"))]
IMAGES = torch.rand(5, 2, 4, 6, generator=torch.Generator().manual_seed(0))  # 6 patches of 2 by 2, T = 7
WIDTH, N_HEADS, LAYERS = 33, 3, 2


def vit(code: str = "solutions", dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    model = load_code(code).module("ch05_vit").VisionTransformer
    return model((4, 6), 2, 2, 11, WIDTH, LAYERS, N_HEADS, dropout=dropout)


def otherwise(part: nn.Module) -> bool:
    """Whether a part of a twin computes in another way than its lines."""
    return type(part).__module__ == kernels.__name__


def results(model: nn.Module, parameters: list[nn.Parameter], images: Tensor = IMAGES) -> list[Tensor]:
    labels = torch.arange(len(images))
    logits = model(images)
    return [logits, *torch.autograd.grad(F.cross_entropy(logits, labels), parameters)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("parts", [PARTS, *([part] for part in PARTS)], ids=str)
def test_logits_and_gradients_are_the_models(parts: list[str], dtype: torch.dtype) -> None:
    model = vit().to(dtype)
    parameters, images = list(model.parameters()), IMAGES.to(dtype)
    expected = results(model, parameters, images)
    state = torch.get_rng_state()
    twin, how = twin_of(model, images, N_HEADS, 0.0, parts)
    assert twin is not model
    assert how
    assert torch.equal(torch.get_rng_state(), state)
    exact = {"rtol": 1e-8, "atol": 1e-12} if dtype == torch.float64 else {}
    for one, other in zip(results(twin, parameters, images), expected, strict=True):
        torch.testing.assert_close(one, other, **exact)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.rpartition("/")[2])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_other_right_answers_have_a_twin_too(code: str, dropout: float) -> None:
    model = vit(code, dropout)
    twin, how = twin_of(model, IMAGES, N_HEADS, dropout)
    assert "the last block for CLS alone" in how
    assert "torch's kernels" in how
    parameters = list(model.parameters())
    assert {id(parameter) for parameter in twin.parameters()} == {id(parameter) for parameter in parameters}
    model.eval(), twin.eval()
    for one, other in zip(results(twin, parameters), results(model, parameters), strict=True):
        torch.testing.assert_close(one, other)


def test_the_model_stays_as_it_is_and_its_twin_learns_with_it() -> None:
    model = vit()
    model.blocks[0].eval()
    names = list(model.state_dict())
    twin, _ = twin_of(model, IMAGES, N_HEADS, 0.0)
    assert not any(map(otherwise, model.modules()))
    assert any(map(otherwise, twin.modules()))
    assert list(model.state_dict()) == names
    assert (model.training, model.blocks[0].training, twin.blocks[0].mlp.training) == (True, False, False)
    assert all(parameter.grad is None for parameter in model.parameters())
    before = twin(IMAGES)
    model.load_state_dict({name: value + 0.01 for name, value in model.state_dict().items()})
    assert not torch.allclose(twin(IMAGES), before)
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))


def test_dropout_stands_in_the_same_places_at_the_same_rate() -> None:
    """The share of zeros that reaches each place tells: over many draws the means are the model's."""
    model = vit(dropout=0.5)
    twin, _ = twin_of(model, IMAGES, N_HEADS, 0.5)
    assert twin is not model
    torch.manual_seed(0)
    with torch.no_grad():
        means = [one(IMAGES[:2].repeat(4000, 1, 1, 1)).unflatten(0, (4000, 2)).var(dim=0) for one in (model, twin)]
    torch.testing.assert_close(*means, rtol=0.15, atol=0.0)


class MeanOfPatches(nn.Module):
    """Reads all tokens of the last block, and not CLS alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.blocks = model, model.blocks

    def forward(self, images: Tensor) -> Tensor:
        x = self.model.positional_encoding(self.model.patch_embedding(images))
        for block in self.blocks:
            x = block(x)
        return self.model.head(self.model.norm(x).mean(dim=1))


def scaled(module: nn.Module, factor: float) -> nn.Module:
    module.register_forward_hook(lambda _module, _inputs, output: output * factor)
    return module


def noisy(module: nn.Module) -> nn.Module:
    """Chance of its own, which only training has."""
    module.register_forward_hook(
        lambda module, _inputs, output: output + torch.randn_like(output) if module.training else output
    )
    return module


class Otherwise(nn.Module):
    """A part that does something else, under the names of the contract."""

    def __init__(self, part: Any, what: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.what = what
        for name, child in part.named_children():
            setattr(self, name, child)
        for name, parameter in part.named_parameters(recurse=False):
            setattr(self, name, parameter)
        self.part = [part]

    def forward(self, x: Tensor) -> Tensor:
        return self.what(self.part[0](x))


def test_what_computes_something_else_keeps_its_place() -> None:
    model = vit()
    model.blocks[0].mlp = Otherwise(model.blocks[0].mlp, lambda x: 1.001 * x)
    model.blocks[1].attention = Otherwise(model.blocks[1].attention, lambda x: x.flip(1))
    twin, how = twin_of(model, IMAGES, N_HEADS, 0.0)
    assert not otherwise(twin.blocks[0].mlp)
    assert not otherwise(twin.blocks[1].attention)
    assert otherwise(twin.blocks[1].norm1)
    assert "last block" not in how
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))


def test_a_model_that_reads_more_than_cls_keeps_its_last_block() -> None:
    model = MeanOfPatches(vit())
    twin, how = twin_of(model, IMAGES, N_HEADS, 0.0)
    assert twin is not model
    assert how.startswith("torch's kernels")
    assert "last block" not in how
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: noisy(model.blocks[0]),
        lambda model: setattr(model.blocks[1].dropout, "p", 0.3),
        lambda model: setattr(model, "lock", __import__("threading").Lock()),  # can't be copied
    ],
)
def test_a_model_that_the_twin_would_not_follow_trains_as_it_is(change: Callable[[Any], object]) -> None:
    model = vit(dropout=0.25)
    change(model)
    twin, how = twin_of(model, IMAGES, N_HEADS, 0.25)
    assert not otherwise(twin.blocks[-1])
    if how:  # the parts that are the same in it
        assert "last block" not in how


class Counting(nn.Module):
    """What it computes depends on how often it was trained, which no tensor tells that a copy would share."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += self.training
        return x * min(1.0, self.seen / 7)


class Averaging(nn.Module):
    """A running mean of maxima, in a buffer that is a new tensor each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().amax()
        return x - self.mean


class CopiesItself(nn.Linear):
    """A copy of it has weights of its own, as one of a scripted module has."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        other = CopiesItself(self.in_features, self.out_features)
        other.load_state_dict(self.state_dict())
        return other


@pytest.mark.parametrize("part", [Counting(), Averaging(), CopiesItself(WIDTH, WIDTH)])
def test_what_a_model_keeps_and_its_twin_would_not_share_is_left_as_it_is(part: nn.Module) -> None:
    model = vit()
    model.norm = nn.Sequential(model.norm, part)
    twin, how = twin_of(model, IMAGES, N_HEADS, 0.0)
    assert twin is model
    assert not how
    assert getattr(part, "seen", 0) == 0
    assert float(getattr(part, "mean", 0)) == 0


def test_a_model_with_chance_of_its_own_uses_up_no_draw() -> None:
    model = vit()
    noisy(model.blocks[0])
    state = torch.get_rng_state()
    twin_of(model, IMAGES, N_HEADS, 0.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_a_model_counts_is_not_counted_in_the_trial() -> None:
    model = vit()
    model.dropout = nn.BatchNorm1d(7)  # running means over the T = 7 tokens
    before = copy.deepcopy(model.state_dict())
    twin_of(model, IMAGES, N_HEADS, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_frozen_model_has_a_twin() -> None:
    model = vit()
    for parameter in model.blocks.parameters():
        parameter.requires_grad_(False)
    assert twin_of(model, IMAGES, N_HEADS, 0.0)[0] is not model


@pytest.mark.parametrize("few", [0, 100])
def test_both_ways_of_attention_are_attention(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setitem(kernels.FEW_TOKENS, "cpu", few)
    q, k, v = torch.randn(3, 2, 3, 7, 5)
    expected, _ = load_code("solutions").module("ch03_attention").scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v), expected)


def test_the_trial_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last block that is wrong in its gradient alone is seen."""
    right = kernels.last_block
    monkeypatch.setattr(kernels, "last_block", lambda block, x, **how: right(block, x.detach(), **how))
    assert "last block" not in twin_of(vit(), IMAGES, N_HEADS, 0.0)[1]


@pytest.mark.thorough
def test_the_twin_compiles_as_one_graph() -> None:
    model = vit()
    twin, _ = twin_of(model, IMAGES, N_HEADS, 0.0)
    parameters = list(model.parameters())
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    for one, other in zip(results(compiled, parameters), results(model, parameters), strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_no_longer_used_leaves_the_memory_at_once() -> None:
    model = vit()
    twin, _ = twin_of(model, IMAGES, N_HEADS, 0.0)
    seen = [weakref.ref(part) for part in (twin, model.blocks[0].mlp.fc1.weight)]
    gc.disable()
    try:
        del model, twin
        assert [part() for part in seen] == [None, None]
    finally:
        gc.enable()
