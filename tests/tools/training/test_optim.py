"""What goes around a train_step: which weights decay, how gradients are clipped, averages, and the learning rate."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from solutions.ch05_vit import VisionTransformer, cross_entropy, train_step, warmup_cosine
from vitcourse.errors import RequestError
from vitcourse.training import optim
from vitcourse.training.configuration import make_config
from vitcourse.training.muon import Muon, orthogonalised
from vitcourse.training.optim import (
    average_weights,
    load_optimizer,
    make_optimizer,
    parameter_groups,
    rate_factor,
    set_learning_rate,
)


@pytest.fixture
def model() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer((4, 6), 2, 3, 5, d_model=6, n_layers=1, n_heads=2, mlp_ratio=2, positions="learned")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(7, 3, 4, 6), torch.randint(5, (7,))


def test_only_the_weights_of_linear_layers_and_convolutions_decay(model: VisionTransformer) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decaying, rest = (
        {names[id(parameter)] for parameter in group["params"]} for group in parameter_groups(model, weight_decay=0.3)
    )
    assert decaying == {
        "patch_embedding.projection.weight",
        "blocks.0.attention.qkv.weight",
        "blocks.0.attention.out.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc2.weight",
        "head.weight",
    }
    assert decaying | rest == set(names.values())
    assert {"positional_encoding.cls_token", "positional_encoding.positions", "norm.weight", "head.bias"} <= rest
    assert [group["weight_decay"] for group in parameter_groups(model, weight_decay=0.3)] == [0.3, 0.0]


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_one_asked_for(model: VisionTransformer, name: str, kind: type) -> None:
    optimizer = make_optimizer(model, make_config("mnist", optimizer=name, beta1=0.8))
    assert type(optimizer) is kind
    assert all(group["betas"] == (0.8, 0.99) for group in optimizer.param_groups)


@pytest.mark.parametrize("fused", [True, False])
def test_a_fused_optimiser_can_be_had_and_not(model: VisionTransformer, fused: bool) -> None:
    optimizer = make_optimizer(model, make_config("digits", fused=fused))
    assert [(group["fused"], group["foreach"]) for group in optimizer.param_groups] == [
        (fused, None if fused else False)
    ] * 2


def test_clipping_shortens_the_gradient_before_the_step(
    model: VisionTransformer, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    lengths = {}
    for clip in (0.0, 0.05):
        trained = copy.deepcopy(model)
        train_step(trained, *batch, make_optimizer(trained, make_config("mnist", clip=clip)))
        lengths[clip] = nn.utils.get_total_norm([parameter.grad for parameter in trained.parameters()])
    assert lengths[0.0] > 0.1
    assert lengths[0.05] == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_step_that_makes_its_gradients_in_a_closure_is_the_same_step(
    model: VisionTransformer, batch: tuple[torch.Tensor, torch.Tensor], name: str, by_name: bool
) -> None:
    images, labels = batch
    plain, other = copy.deepcopy(model), copy.deepcopy(model)
    config = make_config("mnist", optimizer=name, clip=0.05)
    expected = train_step(plain, images, labels, make_optimizer(plain, config))
    optimizer = make_optimizer(other, config)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(other(images), labels)
        loss.backward()
        return loss

    loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
    assert torch.equal(loss.detach(), expected)
    assert all(torch.equal(mine, p) for mine, p in zip(other.parameters(), plain.parameters(), strict=True))
    lengths = nn.utils.get_total_norm([parameter.grad for parameter in other.parameters()])
    assert lengths == pytest.approx(0.05, rel=1e-3)


def test_the_average_follows_the_weights(model: VisionTransformer, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    optimizer = make_optimizer(model, make_config("digits"))
    averaged = average_weights(model, optimizer, decay=0.75)
    expected = model.head.weight.detach().clone()
    for _ in range(3):
        train_step(model, *batch, optimizer)
        expected = 0.75 * expected + 0.25 * model.head.weight.detach()
    torch.testing.assert_close(averaged.head.weight, expected)
    assert not torch.equal(averaged.head.weight, model.head.weight)


def test_the_buffers_of_an_average_are_the_models_own() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    averaged = average_weights(model, optimizer, decay=0.75)
    for _ in range(2):
        model(torch.randn(7, 5)).sum().backward()
        optimizer.step()
    assert int(averaged[1].num_batches_tracked) == 2
    assert torch.equal(averaged[1].running_mean, model[1].running_mean)
    assert not torch.equal(averaged[0].weight, model[0].weight)


def rates_of(
    model: nn.Module, preset: str, cosine: Callable[..., float] = warmup_cosine, **settings: Any
) -> list[float]:
    """The learning rate at each of 50 steps, which is that of all groups."""
    config, rates = make_config(preset, **settings), []
    optimizer = make_optimizer(model, config)
    for step in range(50):
        set_learning_rate(optimizer, rate_factor(config, step, 50, cosine))
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        rates.append(rate)
    return rates


def test_a_cosine_rises_falls_and_wastes_no_step(model: VisionTransformer) -> None:
    rates = rates_of(model, "digits", learning_rate=0.5, warmup=0.2)
    assert max(rates) == rates[9] == 0.5
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert min(rates) > 0


def test_a_trapezoid_rises_stays_and_falls_in_its_cooldown(model: VisionTransformer) -> None:
    rates = rates_of(model, "digits", learning_rate=0.5, schedule="trapezoid", warmup=0.2, cooldown=0.3)
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert set(rates[9:35]) == {0.5}
    assert rates[34:] == pytest.approx([0.5 * left / 16 for left in range(16, 0, -1)])


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_an_optimiser_goes_on_where_one_on_a_gpu_stopped(
    model: VisionTransformer, batch: tuple[torch.Tensor, torch.Tensor], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates that are tensors, and what only a GPU can do, stay behind; the way back is the same."""
    config = make_config("mnist", optimizer=name)
    for gpu_first in (True, False):
        monkeypatch.setattr(optim, "_on_gpu", lambda _, on_gpu=gpu_first: on_gpu)
        there = make_optimizer(model, config)
        train_step(model, *batch, there)
        state = copy.deepcopy(there.state_dict())
        monkeypatch.setattr(optim, "_on_gpu", lambda _, on_gpu=not gpu_first: on_gpu)
        here = make_optimizer(model, config)
        load_optimizer(here, state)
        for group in here.param_groups:
            assert isinstance(group["lr"], torch.Tensor) == (not gpu_first)
            assert group.get("capturable", not gpu_first) == (not gpu_first)
        set_learning_rate(here, 0.3)
        train_step(model, *batch, here)
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_constant_rate_is_constant_and_asks_no_schedule(model: VisionTransformer) -> None:
    def never(*_: object) -> float:
        raise AssertionError

    assert set(rates_of(model, "seed", never)) == {0.005}


def test_muon_trains_the_blocks_matrices_and_adamw_the_rest(
    model: VisionTransformer, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    config = make_config("mnist", optimizer="muon", learning_rate=0.004, muon_learning_rate=0.02, clip=0.0)
    optimizer = make_optimizer(model, config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_rate: dict[float, set[str]] = {}
    for group in optimizer.param_groups:
        by_rate.setdefault(group["lr"], set()).update(names[id(parameter)] for parameter in group["params"])
    matrices = {f"blocks.0.{layer}.weight" for layer in ("attention.qkv", "attention.out", "mlp.fc1", "mlp.fc2")}
    assert by_rate == {0.02: matrices, 0.004: set(names.values()) - matrices}

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    set_learning_rate(optimizer, 0.5)
    train_step(model, *batch, optimizer)
    for name, parameter in model.named_parameters():
        step = parameter.detach() - before[name]
        if name in matrices:
            # An orthogonal matrix of m × n has the norm √min(m, n); the step is one times 0.2·√max(m, n) of the rate.
            expected = 0.5 * 0.02 * 0.2 * (step.shape[0] * step.shape[1]) ** 0.5
            assert 0.5 * expected < float(step.norm()) < 1.3 * expected, name
        else:
            assert 0 < float(step.abs().max()) <= 0.5 * 0.004 * (1 + 0.05) * 1.01, name


def test_muon_without_blocks_is_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="adamw"):
        make_optimizer(nn.Linear(3, 2), make_config("mnist", optimizer="muon"))


@pytest.mark.parametrize("pieces", [1, 3])
def test_muon_does_what_torchs_muon_does_with_every_piece_alone(pieces: int) -> None:
    torch.manual_seed(0)
    shapes = [(12, 7), (6, 20), (12, 7), (9, 9)]
    whole = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    parts = [nn.Parameter(part.clone()) for parameter in whole for part in parameter.detach().chunk(pieces)]
    before = [parameter.detach().clone() for parameter in whole]
    ours = Muon([{"params": whole, "pieces": [pieces] * len(whole)}], lr=0.1, momentum=0.8)
    torchs = torch.optim.Muon(parts, lr=0.1, weight_decay=0.0, momentum=0.8, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for parameter in whole:
            parameter.grad = torch.randn_like(parameter)
        for part, gradient in zip(
            parts, (g for p in whole for g in p.grad.chunk(pieces) if p.grad is not None), strict=True
        ):
            part.grad = gradient.clone()
        ours.step()
        torchs.step()
    for i, (parameter, start) in enumerate(zip(whole, before, strict=True)):
        moved, expected = parameter.detach() - start, torch.cat(parts[i * pieces : (i + 1) * pieces]).detach() - start
        # torch's works in bfloat16, with two to three digits.
        assert float((moved - expected).norm() / expected.norm()) < 0.03


def test_orthogonalised_matrices_keep_their_singular_vectors() -> None:
    matrices = torch.randn(5, 4, 9, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonalised(matrices) @ v.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert float(values.min()) > 0.65
    assert float(values.max()) < 1.25
    assert float((inside - torch.diag_embed(values)).abs().max()) < 1e-4


def test_a_matrix_without_a_gradient_stays_where_it_is() -> None:
    one, other = (nn.Parameter(torch.ones(2, 3)) for _ in range(2))
    one.grad = torch.ones(2, 3)
    Muon([{"params": [one, other], "pieces": [1, 1]}], lr=0.1, momentum=0.95).step()
    assert not torch.equal(one, torch.ones(2, 3))
    assert torch.equal(other, torch.ones(2, 3))
