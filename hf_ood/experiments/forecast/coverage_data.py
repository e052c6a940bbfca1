"""The data of the coverage study: those of the bench and Colored MNIST, as the vectors that heads see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data import EnvironmentDataset
from ...runs.heads import fit_heads_of
from ...runs.spec import RunSpec
from ..bench.built_data import with_data
from ..bench.configuration import default_names, find, read
from ..head_jobs import FEATURES

SPLITS = ("train", "validation", "test")
PAIRS = [f"{digit}_on_black" for digit in ("red", "green", "white", "yellow")] + [
    f"{digit}_on_white" for digit in ("blue", "red", "black", "green")
]
MOST_ROWS = {"train": 400, "validation": 150, "test": 1000}  # of an environment
LEAST_ROWS = 30
COLORED_MNIST: dict[str, Any] = {
    "dataset_config": "fixed_colors",
    "colored_mnist": {"train_pairs": PAIRS, "test_pairs": PAIRS, "label_rule": "ten"},
}  # seen through the encoder of the other digits
ENCODED = {"colored_mnist": MOST_ROWS["test"] * len(PAIRS)}  # of a split; the others are not that large


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
    """Each data set by its name. `folder`: where data sets that are read from one are written, and features
    kept, as in the folder of runs of a bench."""
    for name, settings in _settings().items():
        spec = RunSpec.from_settings(with_data(settings, folder / "data"))
        found = fit_heads_of(spec, [], folder / FEATURES, ENCODED.get(name)).datasets
        yield name, {split: _few_of_each(_vectors(found[split]), split) for split in SPLITS}


def _settings() -> dict[str, dict[str, Any]]:
    """Of each data set, by the names of flags: all of its environments, none held out."""
    known = {name: dict(read(find(name)).settings) for name in default_names()}
    for settings in known.values():
        settings.pop("train_environments", None)
    digits = {key: value for key, value in known["digit_sources"].items() if key != "dataset"}
    return {"colored_mnist": digits | COLORED_MNIST, **known}


def _vectors(rows: EnvironmentDataset) -> Split:
    names = np.array(rows.environment_names)[rows.environments.numpy()]
    return Split(rows.columns["inputs"].numpy(), rows.labels.numpy(), names)


def _few_of_each(split: Split, name: str) -> Split:
    """At most `MOST_ROWS` of each environment, and none of one with fewer than `LEAST_ROWS`."""
    rng = np.random.default_rng(0)
    chosen = [
        np.sort(rng.permutation(rows)[: MOST_ROWS[name]])
        for rows in (np.flatnonzero(split.environments == one) for one in np.unique(split.environments))
    ]
    rows = np.concatenate([part for part in chosen if len(part) >= LEAST_ROWS])
    return Split(split.features[rows], split.labels[rows], split.environments[rows])
