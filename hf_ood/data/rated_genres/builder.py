"""The rated sentences by genre, divided by document."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from ...errors import unknown_name
from ...options import option
from ..embedded import CONFIGURATION
from ..hashed_split import split_by_hash
from ..publish import write_dataset_folder
from ..punctuated_text import LABELS, PACKAGE, SOURCES, fetch_package, read_rated_sentences
from .card import card_text

CONFIGURATIONS = {CONFIGURATION: "Hold out one of the four genres; no document is in two splits."}
MIN_RATING = 0.5
FEATURES = Features(
    {
        "text": Value("string"),
        "label": ClassLabel(names=LABELS),
        "environment": ClassLabel(names=list(SOURCES)),
        "rating": Value("float32"),
        "document": Value("string"),
    }
)


@dataclass(frozen=True)
class RatedGenresConfig:
    """Where the sentences come from."""

    package: str = option("", f"The source distribution of {PACKAGE}, a file; by default pip fetches it.")


def check_options(configuration: str, **options: object) -> None:
    """Raises `ValueError` for an unknown configuration."""
    if configuration not in CONFIGURATIONS:
        raise ValueError(unknown_name("configuration", configuration, list(CONFIGURATIONS)))


def rated_genres(sentences: pd.DataFrame) -> DatasetDict:
    """The splits train, validation and test of what `read_rated_sentences` returns.

    The label is the sign of the mean rating; sentences rated closer to 0 than `MIN_RATING` are left out.
    """
    clear = sentences[sentences.rating.abs() >= MIN_RATING]
    names = pd.Series([LABELS[int(rating > 0)] for rating in clear.rating], index=clear.index)
    table = clear.assign(label=names).rename(columns={"source": "environment"})[list(FEATURES)]
    homes = clear.document.map(split_by_hash)
    return DatasetDict(
        {
            split: Dataset.from_list(table[homes == split].to_dict("records"), features=FEATURES)
            for split in ("train", "validation", "test")
        }
    )


def write_rated_genres(
    folder: str | Path,
    configurations: Iterable[str] = CONFIGURATIONS,
    samples: Mapping[str, bytes] | None = None,
    repo_id: str | None = None,
    *,
    package: str = "",
) -> Path:
    """As a folder that plain `load_dataset` reads; pip fetches the package if it is not given.

    Raises `ValueError` for an unknown configuration and another package, `ConnectionError` when pip cannot
    fetch it. Returns the folder.
    """
    for name in configurations:
        check_options(name)
    with tempfile.TemporaryDirectory() as place:
        sentences = read_rated_sentences(Path(package) if package else fetch_package(Path(place)))
    return write_dataset_folder(
        folder, {CONFIGURATION: rated_genres(sentences)}, card_text(), repo_id=repo_id
    )
