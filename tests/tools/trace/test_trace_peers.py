"""Other people's Vision Transformers trace without an error, and what gets a name gets the right one."""

import warnings

import pytest
import torch
from torch import nn

from vitcourse.trace import build, recorder, trace

pytestmark = pytest.mark.xdist_group("test_weights")  # these libraries take seconds to load, and are loaded there

# All different, so that a wrong name would have the wrong number.
RIGHT = {
    "B": 2,
    "C": 3,
    "H": 32,
    "W": 48,
    "P": 8,
    "gh": 4,
    "gw": 6,
    "N": 24,
    "T": 25,
    "D": 60,
    "h": 5,
    "dh": 12,
    "K": 11,
}


@pytest.fixture(autouse=True)
def _strict(monkeypatch):
    monkeypatch.setattr(recorder, "strict", True)


def check(traced, expected: set[str]) -> None:
    assert traced.error is None, traced.to_text()
    seen = set()
    for row in traced.steps:
        for shape in row.shapes:
            for axis in shape:
                if axis.name in RIGHT:
                    assert axis.size == RIGHT[axis.name], row
                    seen.add(axis.name)
    assert expected <= seen
    assert any((row.repeat, row.unit) == (2, "layers") for row in traced.steps)


def test_torchvisions_model_gets_right_names():
    from torchvision.models import VisionTransformer

    model = VisionTransformer(48, 8, 2, 5, 60, 30, num_classes=11)
    traced = trace(model, torch.rand(2, 3, 48, 48), names={"x": "B C H W"})
    assert traced.error is None
    cells = [row.cell for row in traced.at(2).rows]
    assert "(B=2, D=60, gh=6, gw=6)" in cells
    assert "(B=2, T=37, D=60)" in cells


def test_torchvisions_vit_b_16_gets_right_names():
    from torchvision.models import vit_b_16

    with torch.device("meta"):
        model = vit_b_16(image_size=32)
        images = torch.rand(2, 3, 32, 32)
    traced = trace(model, images, names={"x": "B C H W"})
    assert traced.error is None
    block = next(row for row in traced.steps if row.repeat > 1)
    assert (block.repeat, block.unit, block.cell.split("  ")[0]) == (12, "layers", "(B=2, T=5, D=768)")


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_torchs_transformer_encoder_gets_right_names(norm_first, training):
    layer = nn.TransformerEncoderLayer(60, 5, 30, batch_first=True, norm_first=norm_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.TransformerEncoder(layer, 2).train(training)
    x = torch.rand(2, 25, 60)
    traced = trace(model, x, names={"src": "B T D"})
    check(traced, {"B", "T", "D"})
    if not training:
        torch.testing.assert_close(traced.result, model(x))


def test_torchs_attention_with_weights_gets_right_names():
    model = nn.MultiheadAttention(60, 5, batch_first=True)
    traced = trace(lambda q, k: model(q, k, k), torch.rand(2, 7, 60), torch.rand(2, 9, 60), names=["B Tq D", "B Tk D"])
    assert traced.error is None
    assert traced.rows[-1].cell == "(B=2, Tq=7, 60), (B=2, Tq=7, Tk=9)"


def test_timms_model_gets_right_names():
    timm = pytest.importorskip("timm", reason="timm is not installed: uv sync --group bench")
    model = timm.models.VisionTransformer(
        img_size=(32, 48), patch_size=8, num_classes=11, embed_dim=60, depth=2, num_heads=5, mlp_ratio=2
    )
    traced = trace(model, torch.rand(2, 3, 32, 48), names={"x": "B C H W"})
    check(traced, {"B", "C", "H", "W", "gh", "gw", "N", "T", "D", "h", "dh", "K"})


def test_vit_pytorchs_model_gets_right_names():
    vit = pytest.importorskip("vit_pytorch", reason="vit-pytorch is not installed: uv sync --group bench")
    model = build(
        vit.ViT, image_size=(32, 48), patch_size=8, num_classes=11, dim=60, depth=2, heads=5, dim_head=12, mlp_dim=30
    )
    traced = trace(model, torch.rand(2, 3, 32, 48), names={"img": "B C H W"})
    check(traced, {"B", "C", "H", "W", "D", "h", "K"})


def test_heads_that_are_no_split_of_the_width_get_right_names_too():
    vit = pytest.importorskip("vit_pytorch", reason="vit-pytorch is not installed: uv sync --group bench")
    model = build(
        vit.ViT, image_size=16, patch_size=8, num_classes=11, dim=60, depth=1, heads=5, dim_head=7, mlp_dim=30
    )
    traced = trace(model, torch.rand(2, 3, 16, 16), names={"img": "B C H W"})
    assert traced.error is None
    assert {axis.size for row in traced.steps for s in row.shapes for axis in s if axis.name == "D"} == {60}
    assert {axis.size for row in traced.steps for s in row.shapes for axis in s if axis.name == "dh"} == {7}
