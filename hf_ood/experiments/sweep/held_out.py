"""The environments that a sweep can hold out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import DatasetDict

from ...data.built_in import BUILT_IN
from ...data.ids import numbered
from ...data.split_names import with_canonical_names
from ...data.splits import HELD_OUT
from ...data.targets import CLASSIFICATION
from ...runs.data import columns_of, load_splits, read, validation_share
from ...runs.recipe import read_recipe
from ...runs.spec import RunSpec


def environments_of(recipe: Path) -> tuple[dict[str, int], list[str]]:
    """`environments_in` the run of a recipe."""
    return environments_in(read_recipe(recipe).spec())


def environments_in(spec: RunSpec) -> tuple[dict[str, int], list[str]]:
    """The environments of a run's training split with the rows that train in each, and those of its test
    split.

    Of a table without a test split all environments are training ones, unless the run names the tested.
    """
    if spec.data.task != CLASSIFICATION:
        raise ValueError(
            f"A sweep chooses by accuracy, which a {spec.data.task} has not: train with each value (hf-ood "
            "train) and put the runs side by side (hf-ood compare)."
        )
    built_in = BUILT_IN.get(spec.data.dataset)
    made = built_in is not None and built_in.tensors is not None
    if not made and not (spec.data.test_environments or spec.data.train_environments):
        data = with_canonical_names(read(spec.data))
        if "test" not in data:
            whole = DatasetDict(train=data["train"]) if "train" in data else DatasetDict(data)
            ids, names = numbered(whole, columns_of(spec.data).environment, "environment")
            present, rows = np.unique(np.concatenate(list(ids.values())), return_counts=True)
            share = validation_share(spec.data) or (0 if spec.data.validation else HELD_OUT)
            left = rows - np.ceil(rows * share).astype(int)
            return {names[number]: int(count) for number, count in zip(present, left, strict=True)}, []
    splits = load_splits(spec)
    return dict(splits["train"].environment_counts()), list(splits["test"].environment_counts())
