"""What the six configurations hold, and that they hold it every time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from hf_ood.data import (
    PALETTE,
    ColoredMNIST,
    EnvironmentDataset,
    colored_mnist_tensors,
    load_colored_mnist,
    load_grey_images,
)
from hf_ood.data.colored_mnist import builder as builder_module
from hf_ood.data.colored_mnist.configurations import CONFIGURATIONS, ENVIRONMENT_NAMES, make_config
from hf_ood.data.colored_mnist.painting import Plan, plan_split

TRAIN = ["red_on_black", "green_on_black", "white_on_black"]
TEST = ["yellow_on_white", "blue_on_white"]
ENVIRONMENTS: dict[str, tuple[list[str], list[str]]] = {
    "fixed_colors": (TRAIN, TEST),
    "random_colors": (["random_colors"], TEST),
    "random_transforms": (["random_transforms"], TEST),
    "unseen_colors": (TRAIN, ["random_colors"]),
    "background_shortcut": (["shortcut_0.95"], ["reversed"]),
    "label_noise_shortcut": (["color_flip_0.2", "color_flip_0.1"], ["color_flip_0.9"]),
}


def plan(name: str, split: str = "train", **options: Any) -> Plan:
    return plan_split(make_config(name, **options), split, load_grey_images())


def is_color(colors: np.ndarray, name: str) -> np.ndarray:
    return (colors == np.asarray(PALETTE[name])).all(axis=1)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_environments_sizes_and_names(name: str) -> None:
    splits = colored_mnist_tensors(name)
    train, test = ENVIRONMENTS[name]
    assert list(splits["train"].environment_counts()) == sorted(train, key=ENVIRONMENT_NAMES.index)
    assert set(splits["test"].environment_counts()) == set(test)
    assert set(splits["validation"].environment_counts()) == set(train)
    sizes = [len(splits[split]) for split in ("train", "validation", "test")]
    assert sizes == ([50000, 10000, 10000] if name == "label_noise_shortcut" else [54000, 6000, 10000])
    for split in splits.values():
        assert split.environment_names == ENVIRONMENT_NAMES
        counts = list(split.environment_counts().values())
        assert max(counts) - min(counts) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_image_is_painted_in_the_colours_of_its_columns(name: str) -> None:
    """Independent of the painting code: the corner is background, full ink is digit colour."""
    split = "test" if name == "random_transforms" else "train"
    images = colored_mnist_tensors(name)[split].select(range(2500))
    rows = plan(name, split)
    grey = load_grey_images().images[rows.source_index[:2500]]
    pixels = images.columns["pixel_values"].permute(0, 2, 3, 1).numpy()
    ink, empty = grey == 255, grey == 0
    expand = np.broadcast_to
    assert (pixels[empty] == expand(rows.background_color[:2500, None, None], pixels.shape)[empty]).all()
    assert (pixels[ink] == expand(rows.digit_color[:2500, None, None], pixels.shape)[ink]).all()
    between = grey.astype(float)[..., None] / 255
    exact = (
        rows.background_color[:2500, None, None] * (1 - between)
        + rows.digit_color[:2500, None, None] * between
    )
    assert np.abs(pixels - exact).max() <= 0.51


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_image_is_in_two_splits(name: str) -> None:
    used = [set(plan(name, split).source_index.tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, used)) == 70000
    assert len(set.union(*used)) == 70000


def test_training_images_train_and_test_images_test() -> None:
    assert plan("unseen_colors", "train").source_index.max() < 60000
    assert plan("unseen_colors", "validation").source_index.max() < 60000
    assert plan("unseen_colors", "test").source_index.min() == 60000


def test_environments_have_the_palettes_colours() -> None:
    for name, split in (("fixed_colors", "train"), ("fixed_colors", "test")):
        rows = plan(name, split)
        for environment in np.unique(rows.environment):
            digit, background = ENVIRONMENT_NAMES[environment].split("_on_")
            members = rows.environment == environment
            assert is_color(rows.digit_color[members], digit).all()
            assert is_color(rows.background_color[members], background).all()


def test_random_colours_differ_and_keep_the_minimum_distance() -> None:
    rows = plan("unseen_colors", "test", min_color_distance=200.0)
    distance = np.linalg.norm(rows.digit_color.astype(float) - rows.background_color, axis=1)
    assert distance.min() >= 200
    assert len(np.unique(rows.background_color, axis=0)) > 9900


def test_random_transforms_gray_a_tenth_and_move_the_rest() -> None:
    rows = plan("random_transforms")
    gray = (np.ptp(rows.digit_color, axis=1) == 0) & (np.ptp(rows.background_color, axis=1) == 0)
    assert abs(gray.mean() - 0.1) < 0.01
    plain = colored_mnist_tensors("random_colors")["train"].columns["pixel_values"][:1000]
    moved = colored_mnist_tensors("random_transforms")["train"].columns["pixel_values"][:1000]
    assert (plain != moved).flatten(1).any(1).float().mean() > 0.95
    erased = (moved == 0).all(1).flatten(1).sum(1) > 10
    assert 0.3 < erased.float().mean() < 0.6


def test_the_background_tells_the_label_with_the_asked_probability() -> None:
    rows = plan("background_shortcut", correlations=[0.95, 0.8])
    assert is_color(rows.digit_color, "blue").all()
    black = is_color(rows.background_color, "black")
    assert (black | is_color(rows.background_color, "white")).all()
    for name, probability in (("shortcut_0.95", 0.95), ("shortcut_0.8", 0.8)):
        members = rows.environment == ENVIRONMENT_NAMES.index(name)
        assert members.sum() == 27000
        for label in (0, 1):
            share = (black == (label == 1))[members & (rows.label == label)].mean()
            assert abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / 13000)
    test = plan("background_shortcut", "test")
    assert (is_color(test.background_color, "white") == (test.label == 1)).all()
    assert (is_color(test.background_color, "black") == (test.label == 0)).all()


def test_label_noise_shortcut_is_the_papers() -> None:
    rows = plan("label_noise_shortcut")
    assert sorted(rows.source_index.tolist()) == list(range(50000))
    first, second = (ENVIRONMENT_NAMES.index(name) for name in ("color_flip_0.2", "color_flip_0.1"))
    assert (rows.environment[::2] == first).all() and (rows.environment[1::2] == second).all()
    clean = rows.digit < 5
    assert abs((rows.label != clean).mean() - 0.25) < 0.01
    green = is_color(rows.digit_color, "green")
    assert (green | is_color(rows.digit_color, "red")).all() and is_color(
        rows.background_color, "black"
    ).all()
    for environment, flip in ((first, 0.2), (second, 0.1)):
        members = rows.environment == environment
        assert abs((green != rows.label)[members].mean() - flip) < 0.01
    test = plan("label_noise_shortcut", "test")
    assert sorted(test.source_index.tolist()) == list(range(50000, 60000))
    assert abs((is_color(test.digit_color, "green") != test.label).mean() - 0.9) < 0.015


@pytest.mark.parametrize(
    ("rule", "label_of"),
    [
        ("at_least_five", lambda digit: digit >= 5),
        ("below_five", lambda digit: digit < 5),
        ("parity", lambda digit: digit % 2),
        ("ten", lambda digit: digit),
        ("zero_vs_one", lambda digit: digit),
    ],
)
def test_label_rules(rule: str, label_of: Any) -> None:
    rows = plan("unseen_colors", label_rule=rule)
    digit = load_grey_images().classes[rows.source_index]
    assert (rows.digit == digit).all()
    assert (rows.label == label_of(digit).astype(int)).all()
    assert (digit.max() == 1) == (rule == "zero_vs_one")
    assert len(make_config("unseen_colors", label_rule=rule).label_names) == (10 if rule == "ten" else 2)


def test_the_default_rules_are_the_reports_and_the_papers() -> None:
    assert make_config("unseen_colors").label_rule == "at_least_five"
    assert make_config("label_noise_shortcut").label_rule == "below_five"


def test_replicate_gives_every_environment_every_image() -> None:
    rows = plan("fixed_colors", replicate=True)
    assert len(rows) == 3 * 54000
    images = [
        set(rows.source_index[rows.environment == environment]) for environment in np.unique(rows.environment)
    ]
    assert images[0] == images[1] == images[2] and len(images[0]) == 54000


def test_an_option_changes_only_what_it_is_about() -> None:
    plain, shortcut = plan("unseen_colors"), plan("background_shortcut")
    assert (plain.source_index == shortcut.source_index).all()
    noisy = plan("label_noise_shortcut", label_flip=0.0)
    assert (noisy.source_index == plan("label_noise_shortcut").source_index).all()


def test_own_colour_pairs_become_environments() -> None:
    splits = colored_mnist_tensors("fixed_colors", train_pairs=["cyan_on_magenta", "red_on_black"])
    assert set(splits["train"].environment_counts()) == {"cyan_on_magenta", "red_on_black"}
    assert splits["test"].environment_names == [*ENVIRONMENT_NAMES, "cyan_on_magenta"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unseen_colours", {}, "Did you mean 'unseen_colors'"),
        ("unseen_colors", {"sede": 1}, "Unknown option 'sede'. Did you mean 'seed'"),
        ("unseen_colors", {"label_rule": "odd"}, "label_rule 'odd' is not one of"),
        ("background_shortcut", {"label_rule": "ten"}, "label_rule 'ten' has ten"),
        ("label_noise_shortcut", {"label_rule": "ten"}, "label_rule 'ten' has ten"),
        ("unseen_colors", {"validation_fraction": 1.0}, "validation_fraction must lie"),
        ("background_shortcut", {"correlations": [1.5]}, "1.5 is not a probability"),
        ("fixed_colors", {"train_pairs": ["red"]}, "'red' is not a colour pair"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_colored_mnist(name, cache_dir=str(tmp_path), **options)
    assert not list(tmp_path.iterdir())


SMALL = {"label_rule": "zero_vs_one"}


def load(cache: Path, name: str = "unseen_colors", **options: Any) -> DatasetDict:
    return load_colored_mnist(name, cache_dir=str(cache), **SMALL, **options)


def arrow_files(cache: Path) -> set[Path]:
    return set(cache.rglob("*.arrow"))


def test_the_columns_of_a_data_set(tmp_path: Path) -> None:
    splits = load(tmp_path)
    for rows in splits.values():
        features = rows.features
        assert list(features) == [
            "image",
            "label",
            "environment",
            "digit",
            "digit_color",
            "background_color",
            "source_index",
        ]
        assert features["environment"].names == ENVIRONMENT_NAMES
        assert features["digit_color"].feature.dtype == "uint8" and features["digit_color"].length == 3
        assert features["source_index"].dtype == "int32"
        assert features["label"].names == ["0", "1"]
    first = splits["train"][0]
    assert first["image"].size == (28, 28) and first["image"].mode == "RGB"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unseen_colors", "random_transforms", "background_shortcut"])
def test_the_data_set_and_the_tensors_hold_the_same_pixels(name: str, tmp_path: Path) -> None:
    built, tensors = load(tmp_path, name, seed=3), colored_mnist_tensors(name, seed=3, **SMALL)
    for split in ("validation", "test"):
        decoded = EnvironmentDataset.from_dataset(built[split])
        for column, values in tensors[split].columns.items():
            assert torch.equal(decoded.columns[column], values), (split, column)
        assert decoded.environment_names == tensors[split].environment_names


def test_a_split_is_asked_for_as_of_load_dataset(tmp_path: Path) -> None:
    whole = load(tmp_path)

    def part(split: str) -> Dataset:
        return load_colored_mnist("unseen_colors", str(tmp_path), split=split, **SMALL)

    assert part("test")["source_index"] == whole["test"]["source_index"]
    assert part("train[:100]")["source_index"] == whole["train"]["source_index"][:100]
    assert len(part("train+validation")) == len(whole["train"]) + len(whole["validation"])
    with pytest.raises(ValueError, match=r"Unknown split 'tset'\. Did you mean 'test'"):
        load_colored_mnist("unseen_colors", str(tmp_path / "other"), split="tset[:10]", **SMALL)
    with pytest.raises(ValueError, match=r"split='train\[:x\]' cannot be read.*'train\[:100\]'"):
        load_colored_mnist("unseen_colors", str(tmp_path / "other"), split="train[:x]", **SMALL)
    assert not (tmp_path / "other").exists()


def digest(cache: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(arrow_files(cache))]


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    load(tmp_path / "one")
    load(tmp_path / "two")
    assert len(digest(tmp_path / "one")) == 3
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


@pytest.mark.slow
def test_the_cache_is_read_again_and_never_when_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in arrow_files(tmp_path)}
    again = load(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in arrow_files(tmp_path)} == files
    for options in ({"seed": 1}, {"min_color_distance": 150.0}):
        other = load(tmp_path, **options)
        known, files = set(files), dict.fromkeys(arrow_files(tmp_path), 0)
        assert len(set(files) - known) == 3
        assert other["test"]["background_color"] != again["test"]["background_color"]
    monkeypatch.setattr(builder_module, "_code_hash", lambda: "an edited line in coloring.py")
    load(tmp_path)
    assert len(arrow_files(tmp_path) - set(files)) == 3


def test_the_code_hash_covers_every_file_that_makes_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = builder_module.inspect.getsource, []

    def getsource(module: Any) -> str:
        seen.append(module.__name__.rpartition(".")[2])
        return original(module)

    monkeypatch.setattr(builder_module.inspect, "getsource", getsource)
    builder_module._code_hash()
    assert {"coloring", "augmentation", "painting", "configurations", "digits", "builder"} <= set(seen)


def test_seeds_give_other_data(tmp_path: Path) -> None:
    first, second = (colored_mnist_tensors("unseen_colors", seed=seed)["train"] for seed in (0, 1))
    assert not torch.equal(first.labels, second.labels)


def test_the_builder_is_the_public_one() -> None:
    assert [config.name for config in ColoredMNIST.BUILDER_CONFIGS] == list(CONFIGURATIONS)
