"""The hyper-parameters: what the presets say, what may be changed, and what a wrong one is answered with."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from commands import Command

from vitcourse.errors import RequestError
from vitcourse.training.configuration import config_of_run, make_config
from vitcourse.training.presets import PRESETS, help_line, option, settings


def test_the_seed_preset_is_the_originals_recipe() -> None:
    config = make_config("seed")
    recipe = {
        "data": "mnist", "image_size": 32, "patch_size": 16, "d_model": 9, "n_heads": 3, "n_layers": 3, "mlp_ratio": 4,
        "positions": "sinusoidal", "optimizer": "adam", "learning_rate": 0.005, "schedule": "constant",
        "batch_size": 128, "epochs": 10, "loss": "cross-entropy", "standardise": False, "shift": 0, "clip": 0,
        "weight_decay": 0, "dropout": 0, "ema": 0, "beta1": 0.9, "beta2": 0.999,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in recipe} == recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_allowed_by_its_own_rules(preset: str) -> None:
    assert make_config(preset) == PRESETS[preset]
    assert make_config(preset).preset == preset


def test_overrides_change_only_what_they_name() -> None:
    changed = asdict(make_config("mnist", epochs=2, shift=None, standardise=False))
    untouched = asdict(PRESETS["mnist"])
    assert {name for name in changed if changed[name] != untouched[name]} == {"epochs", "standardise"}


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("digit", {}, "did you mean digits?"),
        ("imagenet", {}, "type one of: digits, seed, mnist"),
        ("digits", {"d_modle": 9}, "did you mean d_model?"),
        ("digits", {"epochs": 0}, "--epochs must be at least 1, not 0"),
        ("digits", {"patch_size": -4}, "--patch-size must be at least 1, not -4"),
        ("digits", {"batch_size": 2.5}, "--batch-size must be a whole number, not 2.5"),
        ("digits", {"n_heads": True}, "--n-heads must be a whole number, not True"),
        ("digits", {"learning_rate": 0.0}, "--learning-rate must be more than 0, not 0.0"),
        ("digits", {"learning_rate": float("nan")}, "--learning-rate must be a number, not nan"),
        ("digits", {"learning_rate": "fast"}, "--learning-rate must be a number, not 'fast'"),
        ("digits", {"data": 7}, "--data must be a word, not 7"),
        ("digits", {"standardise": "yes"}, "--standardise must be yes or no, not 'yes'"),
        ("digits", {"loss": ["both"]}, "--loss must be a word, not ['both']"),
        ("digits", {"dropout": 1.0}, "--dropout must be less than 1, not 1.0"),
        ("digits", {"clip": -1.0}, "--clip must be at least 0, not -1.0"),
        ("digits", {"seed": 2**63}, "--seed must be at most 9223372036854775807"),
        ("digits", {"optimizer": "adamv"}, "--optimizer can't be 'adamv'; did you mean adam"),
        ("digits", {"loss": "mse"}, "type one of: cross-entropy, original, both"),
        ("digits", {"device": "gpu"}, "--device can't be 'gpu'"),
        ("digits", {"positions": "2d"}, "--positions can't be '2d'"),
        ("digits", {"hardest": 0.0}, "--hardest must be more than 0, not 0.0"),
        ("mnist-fast", {"warmup": 0.4}, "--cooldown 0.7 are more than all the steps; type --cooldown with at most 0.6"),
        ("digits", {"hardest": 0.5, "mixup": 0.2}, "--hardest needs each image's own loss"),
        ("digits", {"hardest": 0.5, "micro_batch": 7}, "--hardest needs each image's own loss"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(preset: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        make_config(preset, **overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", ['"preset": "gone"', '"preset": []', '"data": 7', '"image_size": "8"', '"novel": 1', "]"]
)
def test_a_configuration_that_training_did_not_write_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(asdict(PRESETS["digits"]))[:-1] + f", {damage}}}", encoding="utf-8")
    with pytest.raises(RequestError, match=r"is not what training wrote|--data must be|--image-size must be"):
        config_of_run(file)


def test_help_tells_of_each_setting_what_the_presets_have() -> None:
    lines = {setting.name: help_line(setting) for setting in settings()}
    assert lines["d_model"].endswith(
        "[digits, mnist, mnist-gpu, mnist-gpu-fast: 64; seed: 9; mnist-fast: 56; cifar10: 192; vit-b16: 768]"
    )
    assert lines["amp"].endswith("; off or bf16 [default: off; cifar10, vit-b16: bf16]")
    assert lines["standardise"].endswith("[default: yes; seed: no]")


def test_help_names_every_option(type_in: Command) -> None:
    printed = type_in("train", "--help").out
    assert [setting.name for setting in settings() if option(setting.name) not in printed] == []
