"""Weights of every family: the same logits as the library's own model, and a clear word when something doesn't fit."""

import argparse
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import VisionTransformer as TorchvisionViT
from torchvision.models import vit_b_16
from untrained import as_npz

from solutions.ch02_tokens import resize_positions
from solutions.ch05_vit import VisionTransformer
from vitcourse.weights import load_weights, sizes_of

D, L, H, RATIO, P, C, K = 21, 2, 3, 2, 5, 3, 7
IMAGES = torch.randn(2, C, 15, 15, generator=torch.Generator().manual_seed(1))


def ours(image_size: int | tuple[int, int] = 15, n_classes: int = K, **more: object) -> VisionTransformer:
    more = {"positions": "learned", **more}
    return VisionTransformer(image_size, P, C, n_classes, D, L, H, mlp_ratio=RATIO, **more).eval()


def randomised(model: nn.Module) -> nn.Module:
    """No parameter as it was made: heads, class tokens and biases often start at zero and would hide anything."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


# The libraries' own models


def torchvision(n_classes: int = K) -> nn.Module:
    return randomised(TorchvisionViT(15, P, L, H, D, RATIO * D, num_classes=n_classes))


def timm(**more: object) -> nn.Module:
    models = pytest.importorskip("timm.models", reason="timm is not installed: uv sync --group bench")
    sizes = {"img_size": 15, "patch_size": P, "embed_dim": D, "depth": L, "num_heads": H, "mlp_ratio": RATIO}
    return randomised(models.VisionTransformer(**{**sizes, "num_classes": K, **more}))


def timm_distilled() -> nn.Module:
    deit = pytest.importorskip("timm.models.deit", reason="timm is not installed: uv sync --group bench")
    return randomised(
        deit.VisionTransformerDistilled(
            img_size=15, patch_size=P, embed_dim=D, depth=L, num_heads=H, mlp_ratio=RATIO, num_classes=K
        )
    )


def hugging_face(kind: str = "ViTForImageClassification", **more: object) -> nn.Module:
    library = pytest.importorskip("transformers", reason="transformers is not installed: uv sync --group bench")
    sizes = {
        "image_size": 15, "patch_size": P, "hidden_size": D, "num_hidden_layers": L, "num_attention_heads": H,
        "num_labels": K,
    }  # fmt: skip
    name = next(name for name in ("Dinov2", "DeiT", "Beit", "ViT") if kind.startswith(name))
    own = {"mlp_ratio": RATIO} if name == "Dinov2" else {"intermediate_size": RATIO * D}
    return randomised(getattr(library, kind)(getattr(library, f"{name}Config")(**sizes, **own, **more)))


def other_hugging_face(name: str, **more: object) -> nn.Module:
    """A small model of a kind that is no ViT of this course."""
    library = pytest.importorskip("transformers", reason="transformers is not installed: uv sync --group bench")
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return getattr(library, f"{name}Model")(getattr(library, f"{name}Config")(**(more or sizes)))


def old_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of its files, which its own models had before version 5."""
    found = {}
    for name, tensor in state.items():
        for new, old in {
            "vit.layers.": "vit.encoder.layer.", "attention.q_proj": "attention.attention.query",
            "attention.k_proj": "attention.attention.key", "attention.v_proj": "attention.attention.value",
            "attention.o_proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
        }.items():  # fmt: skip
            name = name.replace(new, old)
        found[name] = tensor
    return found


def logits_of(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.inference_mode():
        out = model(images)
    return out if isinstance(out, Tensor) else out.logits


# Families that load


LOADED: dict[str, Callable[[], nn.Module]] = {
    "torchvision": torchvision,
    "timm": timm,
    "timm, no biases for queries, keys and values": lambda: timm(qkv_bias=False),
    "Hugging Face": hugging_face,
    "this course": lambda: randomised(ours()),
}


@pytest.mark.parametrize("family", LOADED)
def test_a_familys_weights_give_its_logits(family: str) -> None:
    """In float64, so that another ε or a lost bias can't hide behind rounding; and with tokens as small as can be."""
    theirs, model, images = LOADED[family]().double(), ours().double(), IMAGES.double()
    assert float(logits_of(theirs, images).std()) > 0.03
    for size in (1.0, 0.1):
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.mul_(size)
        load_weights(model, theirs.state_dict())
        torch.testing.assert_close(logits_of(model, images), logits_of(theirs, images), rtol=0, atol=1e-10)


def test_googles_layout_and_hugging_faces_older_names_give_the_same_logits() -> None:
    theirs, model = randomised(ours()), ours()
    load_weights(model, as_npz(theirs))
    torch.testing.assert_close(logits_of(model), logits_of(theirs), rtol=0, atol=1e-6)
    nested: dict = {}
    for name, array in as_npz(theirs).items():
        *folders, last = name.split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = array
    again = ours()
    load_weights(again, {"params": nested})
    assert torch.equal(logits_of(again), logits_of(model))
    named = hugging_face()
    load_weights(model, old_hugging_face(named.state_dict()))
    torch.testing.assert_close(logits_of(model), logits_of(named), rtol=0, atol=1e-5)


def test_vit_b_16_gives_torchvisions_logits() -> None:
    with torch.device("meta"):  # their own first numbers, which take a second, are not looked at
        theirs = vit_b_16(weights=None).eval()
        model = VisionTransformer(224, 16, 3, 1000, 768, 12, 12, positions="learned").eval()
    for name, parameter in theirs.to_empty(device="cpu").named_parameters():
        nn.init.normal_(parameter, mean=float(name.endswith("weight") and parameter.ndim == 1), std=0.03)
    load_weights(model.to_empty(device="cpu"), theirs)
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(logits_of(model, images), logits_of(theirs, images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", LOADED)
def test_each_parameter_counts(family: str) -> None:
    """Move any one parameter and the logits move: no name is mapped to a place where it does nothing."""
    theirs, model = LOADED[family](), ours()
    state = theirs.state_dict()
    load_weights(model, state)
    before = logits_of(model)
    for name, tensor in state.items():
        if name.endswith(("k_proj.bias", "key.bias")):
            continue  # a bias of the keys cancels in the softmax
        moved = tensor + torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2))
        load_weights(model, {**state, name: moved})
        assert not torch.allclose(logits_of(model), before, atol=1e-4), name


# Ways in which they come


def test_files_wrappers_and_prefixes_are_seen_through(tmp_path: Path) -> None:
    theirs = torchvision()
    state, expected = theirs.state_dict(), logits_of(theirs)
    inside = ours()
    compiled = torch.compile(inside, backend="eager")  # to compile anything takes longer than all else here
    sources: list[object] = [
        theirs,
        {"model": state, "epoch": 3},
        {
            "epoch": torch.tensor(3),
            "state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        },
        {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "optimizer": {"state": {}}},
        {**{f"module.{name}": tensor for name, tensor in state.items()}, "n_averaged": torch.tensor(7)},
        {name: tensor.half().float() for name, tensor in state.items()},
        {name: tensor.numpy() for name, tensor in state.items()},
    ]
    save_file(state, tmp_path / "model.safetensors")
    torch.save({"model": state, "args": argparse.Namespace(epochs=3)}, tmp_path / "theirs.pth")
    other = randomised(ours())
    np.savez(tmp_path / "other.npz", **as_npz(other))
    sources += [tmp_path, str(tmp_path / "model.safetensors"), tmp_path / "theirs.pth"]
    for source in sources:
        for model, own in ((plain := ours(), plain), (compiled, inside)):
            load_weights(model, source)
            torch.testing.assert_close(logits_of(own), expected, rtol=0, atol=1e-2 if source is sources[5] else 1e-6)
    load_weights(compiled, tmp_path / "other.npz")
    torch.testing.assert_close(logits_of(inside), logits_of(other), rtol=0, atol=1e-6)


def test_a_library_that_saves_and_one_that_loads(tmp_path: Path) -> None:
    theirs, model = hugging_face(), ours()
    theirs.save_pretrained(tmp_path)
    load_weights(model, tmp_path)
    torch.testing.assert_close(logits_of(model), logits_of(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [torchvision, lambda: hugging_face("ViTModel"), lambda: timm(num_classes=0)])
def test_the_models_own_head_can_stay(make: Callable[[], nn.Module]) -> None:
    theirs, model = make(), ours(n_classes=11)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r'head="own"'):
        load_weights(model, theirs.state_dict())
    load_weights(model, theirs.state_dict(), head="own")
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(before) - {"head.weight", "head.bias"}


def test_a_layer_in_front_of_the_head_goes_with_the_head() -> None:
    state = {**torchvision().state_dict(), "heads.pre_logits.weight": torch.zeros(D, D)}
    with pytest.raises(ValueError, match="pre_logits"):
        load_weights(ours(), state)
    load_weights(ours(), state, head="own")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_weights_that_hold_no_numbers_are_refused_and_nothing_is_loaded(number: float) -> None:
    state, model = {name: tensor.double() for name, tensor in torchvision().state_dict().items()}, ours()
    state["encoder.ln.bias"][2] = number
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"\(torchvision\) hold NaN.*\n  norm\.bias$"):
        load_weights(model, state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


# Positions of another grid


def test_positions_of_another_resolution_are_resized() -> None:
    state = torchvision().state_dict()
    positions = state["encoder.pos_embedding"]
    larger = ours(25)
    load_weights(larger, state)
    assert torch.equal(larger.positional_encoding.positions, resize_positions(positions, (3, 3), (5, 5)))
    wide = ours((10, 35))
    with pytest.raises(ValueError, match=r"model\.grid = \(rows, columns\)"):
        load_weights(wide, state)
    wide.grid = (2, 7)
    load_weights(wide, state)
    assert torch.equal(wide.positional_encoding.positions, resize_positions(positions, (3, 3), (2, 7)))


def test_weights_of_a_grid_that_is_no_square_need_it_said() -> None:
    state, square = randomised(ours((10, 35))).state_dict(), ours(25)
    with pytest.raises(ValueError, match=r"positions of 14 patches are no square; pass their grid"):
        load_weights(square, state)
    with pytest.raises(ValueError, match="a grid of 2×6 has 12 patches"):
        load_weights(square, state, grid=(2, 6))
    with pytest.raises(ValueError, match="grid is rows and columns"):
        load_weights(square, state, grid=14)
    load_weights(square, state, grid=[2, 7])
    expected = resize_positions(state["positional_encoding.positions"], (2, 7), (5, 5))
    assert torch.equal(square.positional_encoding.positions, expected)
    wide = ours((10, 35))
    load_weights(wide, state)
    assert torch.equal(wide.positional_encoding.positions, state["positional_encoding.positions"])


def test_a_grid_the_wrong_way_round_is_not_taken_for_the_models() -> None:
    state = torchvision().state_dict()
    with pytest.raises(ValueError, match="a grid of 7×2 has 14 patches, and the weights positions of 9"):
        load_weights(ours((10, 35)), state, grid=(7, 2))


# What doesn't fit


REFUSED: dict[str, tuple[Callable[[], object], list[str]]] = {
    "DeiT, distilled": (timm_distilled, ["timm", "distillation", "dist_token"]),
    "DeiT of Hugging Face": (lambda: hugging_face("DeiTModel"), ["Hugging Face", "distillation"]),
    "DINOv2 in timm": (lambda: timm(init_values=1.0, num_classes=0), ["timm", "LayerScale", "DINOv2"]),
    "DINOv2 of Hugging Face": (lambda: hugging_face("Dinov2Model"), ["Hugging Face", "DINOv2", "layer_scale1"]),
    "registers": (lambda: timm(reg_tokens=4), ["timm", "register tokens"]),
    "a norm before the blocks": (lambda: timm(pre_norm=True), ["timm", "CLIP"]),
    "the mean of the patches": (lambda: timm(class_token=False, global_pool="avg"), ["timm", "all patches"]),
    "BEiT of Hugging Face": (lambda: hugging_face("BeitForImageClassification"), ["Hugging Face", "BEiT"]),
    "DINOv2 with a head": (lambda: hugging_face("Dinov2ForImageClassification"), ["Hugging Face", "DINOv2"]),
    "Swin of Hugging Face": (lambda: other_hugging_face("Swin", embed_dim=24), ["Swin's"]),
    "CLIP of Hugging Face": (lambda: other_hugging_face("CLIPVision"), ["CLIP's"]),
    "a language model": (lambda: other_hugging_face("Bert"), ["a language model's"]),
    "CLIP": (lambda: {"visual.conv1.weight": torch.zeros(3)}, ["CLIP", "visual.conv1.weight"]),
    "nobody": (lambda: {"a": torch.zeros(3), "b": torch.zeros(2)}, ["isn't known", "a, b", "torchvision, timm"]),
    "nothing": (dict, ["no weights in it"]),
    "another wrapper": (lambda: {"net": {}, "epoch": 3}, ["no weights in it", "net, epoch"]),
    "a number": (lambda: 7, ["not a int"]),
    "another size": (
        lambda: VisionTransformer(12, 3, 1, K, 22, 3, 2, positions="learned"),
        ["d_model=22, where this one has 21", "with: d_model=22, in_channels=1, patch_size=3, n_layers=3"],
    ),
    "other heads": (lambda: as_npz(randomised(ours())) | {
        f"Transformer/encoderblock_{i}/MultiHeadDotProductAttention_1/{word}/kernel": np.zeros((D, 7, 3), np.float32)
        for i in range(L) for word in ("query", "key", "value")}, ["7 heads", "n_heads=7"]),
    "other classes": (lambda: torchvision(1000), ["tell 1000 classes, this model 7", 'head="own"']),
    "positions that are a table": (lambda: ours((10, 30), positions="sinusoidal"), ["12 patches are no square"]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_a_few_lines_and_nothing_is_loaded(what: str) -> None:
    make, said = REFUSED[what]
    model = ours()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = make()
    for how in ({}, {"grid": (4, 4)}):
        with pytest.raises(ValueError, match=r"\w") as refused:
            load_weights(model, source.state_dict() if isinstance(source, nn.Module) else source, **how)
        message = str(refused.value)
        assert len(message.splitlines()) <= 6
        assert len(message) < 500
        if not how:
            assert [words for words in said if words not in message] == []
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_model_comes_first() -> None:
    with pytest.raises(ValueError, match="the model comes first, then the weights"):
        load_weights(ours().state_dict(), ours())


def test_the_first_few_parts_are_named() -> None:
    state = torchvision().state_dict()
    for name in ("encoder.ln.bias", "conv_proj.bias"):
        del state[name]
    state |= {"something.else": torch.zeros(2), "class_token": torch.zeros(1, 2, D)}
    with pytest.raises(ValueError, match=r"\(torchvision\) don't fit") as refused:
        load_weights(ours(), state)
    assert "norm.bias: missing from the weights" in str(refused.value)
    assert "something.else: the model has no such part" in str(refused.value)
    assert str(refused.value).endswith("and 1 more")


def test_fixed_positions_are_refused_unless_they_are_the_same() -> None:
    with pytest.raises(ValueError, match='positions="learned"'):
        load_weights(ours(positions="sinusoidal"), torchvision().state_dict())
    theirs, model = randomised(ours(positions="sinusoidal")), ours(positions="sinusoidal")
    load_weights(model, theirs.state_dict())
    assert torch.equal(logits_of(model), logits_of(theirs))
    learned = ours()
    load_weights(learned, theirs.state_dict())
    assert torch.equal(logits_of(learned), logits_of(theirs))
    with pytest.raises(ValueError, match="this Linear is no VisionTransformer"):
        load_weights(nn.Linear(3, 5), {})


@pytest.mark.parametrize("name", ["no.safetensors", "no.pth", "no.npz", "nowhere"])
def test_files_that_are_none_are_refused_in_a_line(tmp_path: Path, name: str) -> None:
    if name != "nowhere":
        (tmp_path / name).write_bytes(b"PK\x03\x04 no weights")
    with pytest.raises(ValueError, match=name) as refused:
        load_weights(ours(), tmp_path / name)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("state", [as_npz(ours()), ours().state_dict()], ids=["Google", "this course"])
def test_a_part_of_another_form_raises_nothing_but_what_is_promised(state: dict[str, Any]) -> None:
    model = ours(25)
    for name, value in state.items():
        tensor = torch.as_tensor(value)
        for other in (torch.tensor(1.0), tensor.flatten()[1:], tensor.to("meta")):
            for take in (sizes_of, partial(load_weights, model)):
                with suppress(ValueError):
                    take({**state, name: other})


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"model": torchvision().state_dict(), "more": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="could run code"):
        load_weights(ours(), tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_another_word_for_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r'"theirs" or "own", not \'mine\''):
        load_weights(ours(), torchvision(), head="mine")
