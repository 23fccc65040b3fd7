"""Torch's fused kernels take the place of what the chapters write out, where they compute the same."""

import torch
from torch import nn

from vitcourse.codesets import load_code
from vitcourse.training.kernels import use_fused_kernels


def test_fused_kernels_give_the_same_numbers_and_keep_the_parameters() -> None:
    torch.manual_seed(0)
    model = load_code("solutions").module("ch05_vit").VisionTransformer(8, 4, 1, 10, 12, 2, 3)
    model.blocks[1].eval()
    images, parameters, names = torch.rand(2, 1, 8, 8), dict(model.named_parameters()), set(model.state_dict())
    expected = model(images)
    state = torch.get_rng_state()
    assert use_fused_kernels(model) == 2 * 4 + 1
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model(images), expected)
    assert set(model.state_dict()) == names
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    assert (model.blocks[0].mlp.training, model.blocks[1].mlp.training) == (True, False)


def test_a_kernel_takes_the_place_only_of_what_computes_the_same() -> None:
    module = load_code("solutions").module("ch04_encoder")

    class LayerNorm(module.LayerNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 1.1

    model = nn.Sequential(LayerNorm(7), module.LayerNorm(7), nn.LayerNorm(7))
    assert use_fused_kernels(model) == 1
    assert type(model[0]) is LayerNorm
