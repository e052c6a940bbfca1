"""The environments that a sweep can hold out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import DatasetDict

from ...data import read_dataset
from ...data.environment_column import numbered
from ...runs.data import BUILT_IN, load_splits
from ...runs.recipe import read_recipe


def environments_of(recipe: Path) -> tuple[list[str], list[str]]:
    """Names of the environments that a recipe's training and test splits have.

    Of a table without a test split all environments are training ones, unless the recipe names the tested.
    """
    spec = read_recipe(recipe).spec()
    if spec.data.dataset not in BUILT_IN and not (
        spec.data.test_environments or spec.data.train_environments
    ):
        data = read_dataset(spec.data.dataset, spec.data.configuration)
        if "test" not in data:
            whole = DatasetDict(train=data["train"]) if "train" in data else data
            ids, names = numbered(whole, spec.data.environment_column, "environment")
            present = np.unique(np.concatenate(list(ids.values())))
            return [names[number] for number in present], []
    splits = load_splits(spec)
    return list(splits["train"].environment_counts()), list(splits["test"].environment_counts())
