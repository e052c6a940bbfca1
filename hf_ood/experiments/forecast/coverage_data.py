"""The data of the coverage study: built-in data sets as vectors for linear heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, load_dataset

from ...data.built_in import read_built_in, refuse_unwritten
from ...data.colored_mnist import colored_mnist_tensors

SPLITS = ("train", "validation", "test")
PIXELS = 14  # a side
PAIRS = [f"{digit}_on_black" for digit in ("red", "green", "white", "yellow")] + [
    f"{digit}_on_white" for digit in ("blue", "red", "black", "green")
]
MOST_ROWS = {"train": 400, "validation": 150, "test": 1000}  # of an environment
LEAST_ROWS = 30
NUMBERS = ["hour", "minute", "distance", "temperature", "dew_point", "humidity", "wind_speed"]
NUMBERS += ["precipitation", "pressure", "visibility"]
CATEGORIES = ["month", "weekday", "origin", "destination"]


@dataclass(frozen=True)
class Split:
    """Vectors [N, D], classes int [N] and environments str [N]."""

    features: np.ndarray
    labels: np.ndarray
    environments: np.ndarray

    def of(self, names: list[str]) -> Split:
        rows = np.isin(self.environments, names)
        return Split(self.features[rows], self.labels[rows], self.environments[rows])


Splits = dict[str, Split]


def read_all(folder: Path) -> Iterator[tuple[str, Splits]]:
    """Each data set by its name. `folder`: where `rated_genres` and `flight_delays` were written (`hf-ood
    datasets`). Raises `FileNotFoundError` for one that was not."""
    for name, read in READERS.items():
        yield name, {split: _few_of_each(part, split) for split, part in read(folder).items()}


def _colored_mnist(folder: Path) -> Splits:
    found = colored_mnist_tensors("fixed_colors", train_pairs=PAIRS, test_pairs=PAIRS, label_rule="ten")
    splits = {}
    for split in SPLITS:
        data = found[split]
        images = data.columns["pixel_values"][:, :, ::2, ::2]
        images = images.float() / 255 if not images.is_floating_point() else images
        names = np.array(data.environment_names)[data.environments.numpy()]
        splits[split] = Split(images.flatten(1).numpy(), data.labels.numpy(), names)
    return splits


def _images(name: str, mode: str) -> Callable[[Path], Splits]:
    def read(folder: Path) -> Splits:
        rows = read_built_in(name)
        assert rows is not None
        return {split: _pixels(rows[split], mode) for split in SPLITS}

    return read


def _pixels(rows: Dataset, mode: str) -> Split:
    images = [image.convert(mode).resize((PIXELS, PIXELS)) for image in rows["image"]]
    features = np.stack([np.asarray(image, dtype=np.float32).ravel() / 255 for image in images])
    return Split(features, np.array(rows["label"][:]), _names(rows))


def _rated_genres(folder: Path) -> Splits:
    """Words weighed by their frequency in the training sentences, reduced to 100 directions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    rows = _written(folder / "rated_genres", "default")
    words = make_pipeline(TfidfVectorizer(min_df=3, sublinear_tf=True), TruncatedSVD(100, random_state=0))
    words.fit(rows["train"]["text"][:])
    return {
        split: Split(
            words.transform(rows[split]["text"][:]), np.array(rows[split]["label"][:]), _names(rows[split])
        )
        for split in SPLITS
    }


def _flight_delays(folder: Path) -> Splits:
    rows = _written(folder / "flight_delays", "carriers")
    tables = {split: rows[split].to_pandas() for split in SPLITS}
    middle = tables["train"][NUMBERS].median()
    known = {name: sorted(tables["train"][name].unique()) for name in CATEGORIES}
    return {
        split: Split(
            np.hstack(
                [
                    table[NUMBERS].fillna(middle).to_numpy(float),
                    *(pd.get_dummies(pd.Categorical(table[name], known[name])) for name in CATEGORIES),
                ]
            ),
            table["label"].to_numpy(),
            _names(rows[split]),
        )
        for split, table in tables.items()
    }


READERS: dict[str, Callable[[Path], Splits]] = {
    "colored_mnist": _colored_mnist,
    "emoji_styles": _images("emoji_styles", "RGB"),
    "digit_sources": _images("digit_sources", "L"),
    "rated_genres": _rated_genres,
    "flight_delays": _flight_delays,
}


def _written(folder: Path, configuration: str) -> DatasetDict:
    if not folder.is_dir():
        refuse_unwritten(folder.name)
    return load_dataset(str(folder), configuration)


def _names(rows: Dataset) -> np.ndarray:
    feature = rows.features["environment"]
    values = rows["environment"][:]
    return np.array(
        [feature.int2str(value) for value in values] if isinstance(feature, ClassLabel) else values
    )


def _few_of_each(split: Split, name: str) -> Split:
    """At most `MOST_ROWS` of each environment, and none of one with fewer than `LEAST_ROWS`."""
    rng = np.random.default_rng(0)
    chosen = [
        np.sort(rng.permutation(rows)[: MOST_ROWS[name]])
        for rows in (np.flatnonzero(split.environments == one) for one in np.unique(split.environments))
    ]
    rows = np.concatenate([part for part in chosen if len(part) >= LEAST_ROWS])
    return Split(split.features[rows], split.labels[rows], split.environments[rows])
