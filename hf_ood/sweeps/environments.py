"""The environments that a sweep can hold out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import DatasetDict

from ..cli.arguments import parse_arguments
from ..cli.datasets import BUILT_IN, load_splits
from ..data import read_dataset
from ..data.environment_column import numbered


def environments_of(recipe: Path) -> tuple[list[str], list[str]]:
    """Names of the environments that a recipe's training and test splits have.

    Of a table without a test split all environments are training ones, unless the recipe names the tested.
    """
    run = parse_arguments(["--config", str(recipe)])
    if run.run.dataset_name not in BUILT_IN and not (run.run.test_environments or run.run.train_environments):
        data = read_dataset(run.run.dataset_name, run.run.dataset_config)
        if "test" not in data:
            whole = DatasetDict(train=data["train"]) if "train" in data else data
            ids, names = numbered(whole, run.run.environment_column, "environment")
            present = np.unique(np.concatenate(list(ids.values())))
            return [names[number] for number in present], []
    splits = load_splits(run, run.run.dataset_config)
    return list(splits["train"].environment_counts()), list(splits["test"].environment_counts())
