"""Digits of seven kinds, and what is done to those that are set in a font."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from datasets import DatasetDict, Image, load_dataset

from hf_ood.cli import datasets as datasets_command
from hf_ood.data.digit_sources import FONTS, load_digit_sources
from hf_ood.data.digit_sources.sources import ENVIRONMENTS, FONT_ENVIRONMENTS, glyphs, warped
from hf_ood.data.embedded import refuse_other_rows


@pytest.fixture(scope="module")
def digits() -> DatasetDict:
    return load_digit_sources()


def test_where_they_are_from(digits: DatasetDict) -> None:
    assert {split: len(data) for split, data in digits.items()} == {
        "train": 12458,
        "validation": 1780,
        "test": 3559,
    }
    names = digits["train"].features["environment"].names
    assert names == ENVIRONMENTS and len(names) == 7 and len(FONTS) == 15
    for data in digits.values():
        for source, number in set(zip(data["source"], data["environment"], strict=True)):
            assert names[number] == FONT_ENVIRONMENTS.get(source, source)
        assert len(set(zip(data["environment"], data["label"], strict=True))) == 70
    fonts = Counter(source for data in digits.values() for source in data["source"] if source in FONTS)
    assert set(fonts.values()) == {800}


def test_no_picture_is_in_two_splits(digits: DatasetDict) -> None:
    homes: dict[bytes, set[str]] = defaultdict(set)
    for split, data in digits.items():
        for row in data.cast_column("image", Image(decode=False)):
            homes[row["image"]["bytes"]].add(split)
    assert all(len(splits) == 1 for splits in homes.values())


def test_glyphs_are_as_large_as_handwriting_and_warps_are_mild() -> None:
    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    drawn = glyphs(font.read_bytes())
    assert len(drawn) == 10
    for glyph in drawn:
        plain = np.asarray(glyph.resize((28, 28))) > 128
        rows, columns = np.flatnonzero(plain.any(1)), np.flatnonzero(plain.any(0))
        assert 15 <= np.ptp(rows) + 1 <= 21 and abs(rows.mean() - 13.5) < 1 and abs(columns.mean() - 13.5) < 1
        for seed in range(5):
            image = warped(glyph, np.random.default_rng(seed))
            assert image.shape == (28, 28) and image.dtype == np.uint8
            assert not image[[0, -1]].any() and 0.5 < (image > 128).sum() / plain.sum() < 1.4


@pytest.mark.slow
def test_the_folder_has_the_same_rows(digits: DatasetDict, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    datasets_command.main(["--dataset", "digit_sources", "--output_dir", str(folder)])
    refuse_other_rows(load_dataset(str(folder)), digits)
    card = (folder / "README.md").read_text()
    assert "SIL Open Font License 1.1" in card and "our doing" in card and "| mnist | 0." in card


@pytest.mark.nightly
def test_the_packages_give_the_same_digits() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm fetches the fonts")
    assert len(load_digit_sources(from_packages=True)["train"]) == 12458
