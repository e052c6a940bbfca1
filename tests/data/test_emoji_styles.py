"""Emoji in six styles: what a test emoji looks like was never trained on, whoever drew it."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from datasets import DatasetDict, Image, load_dataset

from hf_ood.cli import datasets as datasets_command
from hf_ood.data import CorruptDataError
from hf_ood.data.embedded import load_embedded, refuse_other_rows
from hf_ood.data.emoji_styles import EMOJI_STYLES, STYLES, load_emoji_styles
from hf_ood.data.emoji_styles.drawings import GROUPS, relatives, split_of, without_presentation
from hf_ood.runs.data import load_splits
from hf_ood.runs.spec import DataSpec, RunSpec


@pytest.fixture(scope="module")
def emoji() -> DatasetDict:
    return load_emoji_styles()


def test_no_emoji_and_no_picture_is_in_two_splits(emoji: DatasetDict) -> None:
    homes: dict[str | bytes, set[str]] = defaultdict(set)
    for split, data in emoji.items():
        for row in data.cast_column("image", Image(decode=False)):
            code = "-".join(f"{ord(character):04x}" for character in row["emoji"])
            homes[relatives(code)].add(split)
            homes[row["image"]["bytes"]].add(split)
            assert split_of(code) == split
    assert all(len(splits) == 1 for splits in homes.values())
    assert {split: len(data) for split, data in emoji.items()} == {
        "train": 6344,
        "validation": 978,
        "test": 1709,
    }


def test_every_style_has_every_group(emoji: DatasetDict) -> None:
    for data in emoji.values():
        there = set(zip(data["environment"], data["label"], strict=True))
        assert len(there) == len(STYLES) * len(GROUPS) == 48
    assert emoji["train"].features["environment"].names == list(STYLES)
    image = emoji["test"][0]["image"]
    assert image.size == (64, 64) and image.mode == "RGB"
    corners = [emoji["test"][row]["image"].getpixel((0, 0)) for row in range(100)]
    assert corners.count((255, 255, 255)) > 90  # on white


def test_men_women_and_neutral_forms_are_relatives() -> None:
    astronauts = ("1f468-200d-1f680", "1f469-200d-1f680", "1f9d1-200d-1f680")
    assert len({relatives(code) for code in astronauts}) == 1
    assert relatives("1f3c3-200d-2640") == relatives("1f3c3") != relatives("1f3c4")
    assert without_presentation("2600-fe0f") == "2600"


def test_a_held_out_style_is_tested_on_emoji_that_no_style_showed(emoji: DatasetDict) -> None:
    spec = RunSpec(DataSpec("emoji_styles", test_environments=["openmoji"]))
    splits = load_splits(spec)
    assert set(splits["test"].environment_counts()) == {"openmoji"}
    for role in ("train", "validation", "in_domain_test"):
        assert set(splits[role].environment_counts()) == set(STYLES) - {"openmoji"}
    openmoji = list(STYLES).index("openmoji")
    assert len(splits["test"]) == emoji["test"]["environment"][:].count(openmoji)
    assert len(splits["train"]) == len(emoji["train"]) - emoji["train"]["environment"][:].count(openmoji)


@pytest.mark.slow
def test_the_folder_has_the_same_rows_and_says_whose_they_are(emoji: DatasetDict, tmp_path: Path) -> None:
    folder = tmp_path / "emoji"
    datasets_command.main(["--dataset", "emoji_styles", "--output_dir", str(folder)])
    refuse_other_rows(load_dataset(str(folder)), emoji)
    card = (folder / "README.md").read_text()
    for told in ("Apache License 2.0", "Attribution-ShareAlike 4.0", "MIT License"):
        assert told in card
    assert re.search(r"fluent\W?_high\W?_contrast \| 0\.3", card)  # its diversity shift
    assert (folder / "samples" / "default.png").stat().st_size > 10_000


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    for split in EMOJI_STYLES.sha256:
        shutil.copy(EMOJI_STYLES.folder / f"{split}.parquet", tmp_path)
    whole = (tmp_path / "test.parquet").read_bytes()
    (tmp_path / "test.parquet").write_bytes(whole[:-100])
    with pytest.raises(CorruptDataError, match=r"test\.parquet is not what this package ships.*Reinstall"):
        load_embedded(tmp_path, EMOJI_STYLES.sha256)
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(CorruptDataError, match=r"test\.parquet cannot be read"):
        load_embedded(tmp_path, EMOJI_STYLES.sha256)


def test_other_rows_are_refused(emoji: DatasetDict) -> None:
    few = DatasetDict({split: data.select(range(4)) for split, data in emoji.items()})
    refuse_other_rows(few, few)
    swapped = DatasetDict({**few, "test": few["test"].select([1, 0, 2, 3])})
    with pytest.raises(ValueError, match=r"differs from the embedded rows of the split test"):
        refuse_other_rows(swapped, few)


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(FileNotFoundError, match="There is no folder gone"):
        load_emoji_styles(packages="gone")


@pytest.mark.nightly
def test_the_packages_give_the_same_pixels() -> None:
    pytest.importorskip("resvg_py")
    if shutil.which("npm") is None:
        pytest.skip("npm fetches the packages")
    assert len(load_emoji_styles(from_packages=True)["train"]) == 6344
