"""Published weights: the same logits as torchvision's model, and a clear word when something doesn't fit."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer as TorchvisionViT
from torchvision.models import vit_b_16

from solutions.ch05_vit import VisionTransformer
from vitcourse.weights import load_torchvision_weights, our_name


def randomise(model: nn.Module) -> None:
    """No parameter as it was made: torchvision's head, class token and biases start at zero and would hide anything."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def small() -> tuple[TorchvisionViT, VisionTransformer]:
    """Torchvision's ViT and ours at the same small sizes, 15 × 15 pixels in patches of 5."""
    theirs = TorchvisionViT(15, 5, num_layers=2, num_heads=3, hidden_dim=21, mlp_dim=42, num_classes=7)
    randomise(theirs)
    return theirs.eval(), VisionTransformer(15, 5, 3, 7, 21, 2, 3, mlp_ratio=2, positions="learned").eval()


def test_vit_b_16_gives_torchvisions_logits() -> None:
    theirs = vit_b_16(weights=None).eval()
    randomise(theirs)
    ours = VisionTransformer(224, 16, 3, 1000, 768, 12, 12, positions="learned").eval()
    images = torch.randn(2, 3, 224, 224)
    load_torchvision_weights(ours, theirs.state_dict())
    with torch.inference_mode():
        expected, logits = theirs(images), ours(images)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_small_models_agree_in_float64(small: tuple[TorchvisionViT, VisionTransformer]) -> None:
    theirs, ours = small
    load_torchvision_weights(ours, theirs.state_dict())
    images = torch.randn(2, 3, 15, 15, dtype=torch.float64)
    torch.testing.assert_close(ours.double()(images), theirs.double()(images), rtol=0, atol=1e-10)


def test_each_parameter_counts(small: tuple[TorchvisionViT, VisionTransformer]) -> None:
    """Move any one parameter and the logits move: no name is mapped to a place where it does nothing."""
    theirs, ours = small
    images = torch.randn(2, 3, 15, 15)
    load_torchvision_weights(ours, theirs.state_dict())
    before = ours(images)
    for name, tensor in theirs.state_dict().items():
        if name.endswith("in_proj_bias"):
            tensor = tensor.clone()
            tensor[:21] += 1.0  # the queries' part; a bias of the keys alone cancels in the softmax
            moved = tensor
        else:
            moved = tensor + torch.randn(tensor.shape)
        load_torchvision_weights(ours, {**theirs.state_dict(), name: moved})
        assert not torch.allclose(ours(images), before, atol=1e-4), name


def test_positions_of_another_resolution_are_resized(small: tuple[TorchvisionViT, VisionTransformer]) -> None:
    theirs, _ = small
    wide = VisionTransformer((20, 35), 5, 3, 7, 21, 2, 3, mlp_ratio=2, positions="learned")
    with pytest.raises(ValueError, match=r"positional_encoding.positions: .*\(1, 29, 21\).*\(1, 10, 21\)"):
        load_torchvision_weights(wide, theirs.state_dict())
    load_torchvision_weights(wide, theirs.state_dict(), grid=(4, 7))
    positions = wide.positional_encoding.positions
    assert torch.equal(positions[:, 0], theirs.state_dict()["encoder.pos_embedding"][:, 0])
    assert wide(torch.randn(2, 3, 20, 35)).shape == (2, 7)


def test_what_does_not_fit_is_named_and_nothing_is_loaded(small: tuple[TorchvisionViT, VisionTransformer]) -> None:
    theirs, ours = small
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    weights: dict[str, Tensor] = dict(theirs.state_dict())
    weights["heads.head.weight"] = torch.zeros(5, 21)
    weights["heads.pre_logits.weight"] = torch.zeros(21, 21)
    del weights["encoder.ln.bias"]
    with pytest.raises(ValueError, match="don't fit") as error:
        load_torchvision_weights(ours, weights)
    assert "head.weight: the model's shape is (7, 21), that of the weights (5, 21)" in str(error.value)
    assert "heads.pre_logits.weight: the model has no such part" in str(error.value)
    assert "norm.bias: missing from the weights" in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


def test_sinusoidal_positions_are_refused(small: tuple[TorchvisionViT, VisionTransformer]) -> None:
    theirs, _ = small
    with pytest.raises(ValueError, match="learned"):
        load_torchvision_weights(VisionTransformer(15, 5, 3, 7, 21, 2, 3, mlp_ratio=2), theirs.state_dict())


def test_older_names_of_the_mlp_are_known() -> None:
    assert our_name("encoder.layers.encoder_layer_11.mlp.linear_1.bias") == "blocks.11.mlp.fc1.bias"
    assert our_name("something.else") == "something.else"
