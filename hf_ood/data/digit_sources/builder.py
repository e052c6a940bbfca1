"""Digits of seven kinds, as they lie in this package or made again from their sources."""

from __future__ import annotations

import io
from itertools import chain
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage

from ..embedded import EmbeddedDataset
from ..hashed_split import SHARES
from .card import card_text
from .sources import DIGITS, ENVIRONMENTS, font_digits, mnist_digits, optical_digits

FEATURES = Features(
    {
        "image": Image(),
        "label": ClassLabel(names=[str(digit) for digit in DIGITS]),
        "environment": ClassLabel(names=ENVIRONMENTS),
        "source": Value("string"),
    }
)


def made_digit_sources(packages: Path) -> DatasetDict:
    """The splits train, validation and test, made from the packages in a folder: half a minute.

    Every font is in all of them, in other warps. Raises as `font_digits` does.
    """
    rows: dict[str, list[dict[str, object]]] = {split: [] for split in SHARES}
    for digit in chain(mnist_digits(), optical_digits(), font_digits(packages)):
        rows[digit.split].append(
            {
                "image": {"bytes": _png(digit.image), "path": None},
                "label": digit.digit,
                "environment": digit.environment,
                "source": digit.source,
            }
        )
    shuffle = np.random.default_rng(0).permutation
    return DatasetDict(
        {
            split: Dataset.from_list([own[row] for row in shuffle(len(own))], features=FEATURES)
            for split, own in rows.items()
        }
    )


def _png(image: np.ndarray) -> bytes:
    stored = io.BytesIO()
    PILImage.fromarray(image).save(stored, "PNG", optimize=True)
    return stored.getvalue()


DIGIT_SOURCES = EmbeddedDataset(
    Path(__file__).parent / "assets",
    {
        "train": "9d93be7ad924b69b89c13110d73c68119ce00d0abdc68c4e766736f0222e2aa6",
        "validation": "6bdc60c74cc8d74a01cefbc749ca6fe2109fc1a234345e2347cce0c7a7185146",
        "test": "7b23a35a32d02c21967b29e4a9df9b2720278c36b946e534932c43b86b85bed6",
    },
    made_digit_sources,
    card_text,
)
