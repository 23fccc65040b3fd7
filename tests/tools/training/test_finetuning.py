"""Runs that start from trained weights, mix images, or go through a batch in parts; small ones, as in test_train.py."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from safetensors.torch import load_file, save_file
from small_runs import CHECKPOINT, SMALL, at_step, ctrl_c, read, rewrite, same, striped, unwrite
from untrained import as_npz

from solutions.ch05_vit import VisionTransformer
from vitcourse.data import Dataset
from vitcourse.errors import RequestError
from vitcourse.training import preparation
from vitcourse.training.configuration import make_config
from vitcourse.training.loop import Run
from vitcourse.training.runs import WEIGHTS

pytestmark = pytest.mark.usefixtures("stripes", "undrawn")

# What SMALL says of the step, without the sizes, which the weights decide.
TUNED = ["--batch-size=16", "--threads=1", "--learning-rate=0.01", "--dropout=0", "--beta2=0.999", "--kernels=own"]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run lies that the first of these tests makes."""
    return tmp_path_factory.mktemp("trained") / "first"


@pytest.fixture
def first(vitcourse: Command, tmp_path: Path, trained_once: Path) -> Path:
    """A run that others start from."""
    if not trained_once.exists():
        assert vitcourse("train", *SMALL, "--epochs", "8", "--output", str(trained_once)).code == 0
    return Path(shutil.copytree(trained_once, tmp_path / "first"))


def started(**settings: Any) -> Run:
    """A run of a configuration, before its first step."""
    return Run.start(
        preparation.prepare(
            make_config(**{"batch_size": 16, "dropout": 0.0, "device": "cpu", "kernels": "own", **settings})
        )
    )


def test_a_run_starts_from_another_with_its_sizes_and_a_head_of_zeros(first: Path) -> None:
    run = started(init=str(first))
    theirs, ours = load_file(first / WEIGHTS), run.model.state_dict()
    body = [name for name in theirs if not name.startswith("head.")]
    assert same({name: theirs[name] for name in body}, {name: ours[name] for name in body})
    assert not ours["head.weight"].any()
    images, labels = next(iter(run.batches))
    assert float(run.step(images, labels)) == pytest.approx(math.log(3), abs=1e-5)


def test_it_is_ahead_of_one_from_scratch(vitcourse: Command, first: Path, tmp_path: Path) -> None:
    for name, words in {"tuned": ["--init", str(first)], "scratch": SMALL[:5]}.items():
        assert vitcourse("train", *words, *TUNED, "--epochs", "1", "--output", name).code == 0
    tuned, scratch = (read(tmp_path / name / "result.json")["accuracy"] for name in ("tuned", "scratch"))
    assert tuned > scratch + 0.2
    assert read(tmp_path / "tuned" / "config.json")["init"] == str(first)
    assert read(tmp_path / "tuned" / "config.json")["d_model"] == 12


def test_other_classes_and_another_size(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = striped(30, seed=2)
    wide = torch.cat([images, images], dim=3)  # a grid of 3×10 in place of 3×5
    data = Dataset("wide", wide, labels % 2, wide, labels % 2, ("even", "odd"))
    monkeypatch.setattr(preparation, "load_dataset", lambda name, image_size: data)
    model = started(init=str(first)).model
    assert model.state_dict()["positional_encoding.positions"].shape == (1, 31, 12)
    assert model(wide[:5]).shape == (5, 2)


def published(kind: str, folder: Path) -> Path:
    """A file with another family's names, for coloured squares in patches of 2 by 2."""
    torch.manual_seed(0)
    if kind == "torchvision":
        from torchvision.models import VisionTransformer as Theirs

        file = folder / "vit.pth"
        torch.save(
            Theirs(image_size=10, patch_size=2, num_layers=3, num_heads=2, hidden_dim=14, mlp_dim=42, num_classes=11)
            .state_dict(), file,
        )  # fmt: skip
        return file
    model = VisionTransformer(10, 2, 3, 11, d_model=14, n_layers=3, n_heads=7, mlp_ratio=3, positions="learned")
    np.savez(folder / "vit.npz", **as_npz(model))
    return folder / "vit.npz"


@pytest.mark.parametrize(("kind", "typed", "heads"), [("torchvision", {"n_heads": 2}, 2), ("Google", {}, 7)])
def test_published_weights_of_any_family(kind: str, typed: dict[str, Any], heads: int, tmp_path: Path) -> None:
    run = started(init=str(published(kind, tmp_path)), **typed)
    config = run.setup.config
    assert (config.patch_size, config.d_model, config.n_layers, config.mlp_ratio) == (2, 14, 3, 3)
    assert (config.n_heads, config.positions) == (heads, "learned")
    note = next(note for note in run.setup.notes if note.startswith("starts from"))
    assert (f"n_heads {heads}" in note, "the file doesn't tell" in note) == (True, kind == "torchvision")
    assert run.model.state_dict()["positional_encoding.positions"].shape == (1, 16, 14)  # of 5×5 patches, now 3×5


def test_the_rates_fall_layer_by_layer(first: Path) -> None:
    run = started(init=str(first), layer_decay=0.5, learning_rate=0.01, weight_decay=0.3)
    rates = {id(p): group["initial_lr"] for group in run.optimizer.param_groups for p in group["params"]}
    named = dict(run.model.named_parameters())
    assert rates[id(named["head.weight"])] == pytest.approx(0.01)
    assert rates[id(named["blocks.0.mlp.fc1.weight"])] == pytest.approx(0.005)
    assert rates[id(named["patch_embedding.projection.bias"])] == pytest.approx(0.0025)


def test_parts_of_a_batch_give_the_update_of_the_whole() -> None:
    whole, parts = (started(micro_batch=size, patch_size=2, optimizer="adam") for size in (0, 7))
    for run in (whole, parts):
        images, labels = next(iter(run.batches))
        run.loss_sum = run.step(images, labels)
    assert float(parts.loss_sum) == pytest.approx(float(whole.loss_sum), rel=1e-5)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-3)


def test_mixed_images_are_drawn_by_the_seed_and_learned_from() -> None:
    losses = []
    for settings in ({"mixup": 0.5, "seed": 3}, {"mixup": 0.5, "seed": 3}, {"seed": 3}):
        run = started(patch_size=2, learning_rate=0.01, **settings)
        losses.append([float(loss) for _, loss in zip(range(40), run.endless(), strict=False)])
    assert losses[0] == losses[1] != losses[2]
    assert sum(losses[0][-6:]) < 0.9 * sum(losses[0][:6])


@pytest.mark.usefixtures("attended")
@pytest.mark.parametrize("extra", [["--mixup=0.4"], ["--micro-batch=7"], ["--layer-decay=0.5"]])
def test_a_resumed_run_ends_as_one_in_one_go_and_needs_its_origin_no_more(
    extra: list[str], vitcourse: Command, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--init", str(first), *TUNED, *extra, "--epochs=3"]
    assert vitcourse("train", *words, "--output", "whole").code == 0
    with monkeypatch.context() as patched:
        at_step(1, patched, ctrl_c)
        assert vitcourse("train", *words, "--output", "parts").code == 1
    assert (tmp_path / "parts" / CHECKPOINT).exists()
    first.rename(tmp_path / "moved")
    done = vitcourse("train", "--resume", "--output", "parts")
    assert done.code == 0, done.err
    assert same(load_file(tmp_path / "whole" / WEIGHTS), load_file(tmp_path / "parts" / WEIGHTS))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--init", "nowhere"], "there are no weights at nowhere"),
        (["--init", "first", "--d-model", "24"], "--d-model 24 doesn't fit the weights in first"),
        (["--init", "first", "--patch-size", "1"], "leave --patch-size out"),
        (["--init", "text.pth"], "--init: text.pth can't be read as weights"),
        (["--init", "model.pth"], "what torch.save(model.state_dict(), FILE) wrote"),
        (["--init", "text.npz"], "what can be read is .safetensors, .npz"),
        (["--init", "."], "holds a model; name one: first"),
        (["--init", "grey"], "read images of 1 channels"),
        (["--init", "stranger.safetensors"], "whose names these are isn't known"),
        (["--mixup", "1.5"], "--mixup must be at most 1"),
        (["--mixup", "-0.1"], "--mixup must be at least 0"),
        (["--layer-decay", "0"], "--layer-decay must be more than 0"),
        (["--micro-batch", "-3"], "--micro-batch must be at least 0"),
        (["--mixup", "0.2", "--micro-batch", "3"], "don't go together"),
        (["--layer-decay", "0.5", "--optimizer", "muon"], "type --optimizer adamw"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], said: str, vitcourse: Command, first: Path, tmp_path: Path
) -> None:
    for name in ("text.pth", "text.npz"):
        (tmp_path / name).write_text("no weights", encoding="utf-8")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "model.pth")
    save_file({"a.weight": torch.zeros(2)}, tmp_path / "stranger.safetensors")
    if "grey" in words:
        grey = VisionTransformer((6, 10), 2, 1, 3, 12, 1, 2, positions="learned")
        (tmp_path / "grey").mkdir()
        torch.save(grey.state_dict(), tmp_path / "grey" / "pytorch_model.bin")
        words = [*words, "--n-heads", "2"]
    if words == ["--init", "."]:
        said = said.replace("first", str(Path("first")))
    done = vitcourse("train", *TUNED, "--epochs=1", *words, "--output", "refused")
    assert done.code == 2, done.out
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "refused").exists()


def test_a_learners_own_chapter_is_used_and_asked_for(vitcourse: Command, first: Path, learner: Path) -> None:
    own = ["--code", str(learner), "--init", str(first), *TUNED, "--epochs=1"]
    rewrite(learner, "ch07_transfer", "head.new_zeros(n_classes, head.shape", "head.new_ones(n_classes, head.shape")
    for name in ("mixup", "soft_cross_entropy"):
        unwrite(learner, "ch07_transfer", name)
    with pytest.raises(RequestError, match=r"mixup needs exercise 7\.4"):
        started(code=str(learner), patch_size=2, mixup=0.2)
    model = started(code=str(learner), init=str(first)).model
    assert model.state_dict()["head.weight"].eq(1).all()
    rewrite(learner, "ch07_transfer", "    return adapted\n\n\n# Exercise 7.3", "    return {}\n\n\n# Exercise 7.3")
    done = vitcourse("train", *own, "--output", "broken")
    assert (done.code, "vitcourse check 7.2" in done.err) == (1, True), done.err
    rewrite(learner, "ch07_transfer", "return list(groups.values())", "return list(groups.values())[1:]")
    with pytest.raises(Exception, match="each parameter once"):
        started(code=str(learner), layer_decay=0.5, patch_size=2)
