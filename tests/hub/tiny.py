"""A few hundred grey digits as a local data set, so that building every configuration takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

from hf_ood.data import load_grey_images


def write_tiny_source(folder: Path, train: int = 600, test: int = 120) -> Path:
    grey = load_grey_images()
    chosen = (
        np.flatnonzero(grey.classes[: grey.num_train] <= 1)[:train],
        np.flatnonzero(grey.classes[grey.num_train :] <= 1)[:test] + grey.num_train,
    )
    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})
    splits = DatasetDict()
    for split, rows in zip(("train", "test"), chosen, strict=True):
        columns = {"image": list(grey.images[rows]), "label": grey.classes[rows].tolist()}
        splits[split] = Dataset.from_dict(columns, features=features)
        splits[split].to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder
