"""Inferred environments as the environment column that any method reads."""

from __future__ import annotations

from datasets import ClassLabel, Dataset, DatasetDict
from torch import Tensor

from ..data import EnvironmentDataset
from ..data.environment_column import ENVIRONMENT, Data
from ..data.ids import numbered


def inferred_names(number: int) -> list[str]:
    return [f"inferred_{position}" for position in range(number)]


def replace_environments(
    datasets: dict[str, EnvironmentDataset], environments: Tensor, number: int
) -> dict[str, EnvironmentDataset]:
    """Give the split `train` inferred environments, int64 [N] in 0..number-1; the other splits keep theirs.

    All splits share one list of names, as the trainers ask: those there were, then `inferred_0`, ...
    """
    names = datasets["train"].environment_names
    common = [*names, *inferred_names(number)]
    renamed = {split: data.with_environments(data.environments, common) for split, data in datasets.items()}
    return {**renamed, "train": datasets["train"].with_environments(environments + len(names), common)}


def write_environments(dataset: Data, environments: Tensor) -> Data:
    """Write inferred environments, int64 [N], into the column `environment`; returns a new data set.

    Of a `DatasetDict` they are those of the split `train`; the other splits keep the environments they have,
    and all share one list of names, as the trainers ask. Raises `ValueError` when the numbers of rows differ.

    Example: `write_environments(data, EIIL().infer(Reference(logits, labels), seed=0))`
    """
    if isinstance(dataset, Dataset):
        return _written(dataset, environments.tolist(), _names_of(environments))
    return _write_train(dataset, environments)


def _names_of(environments: Tensor) -> list[str]:
    return inferred_names(int(environments.max()) + 1)


def _write_train(dataset: DatasetDict, environments: Tensor) -> DatasetDict:
    if "train" not in dataset:
        raise ValueError(f"There is no split 'train' among {', '.join(dataset)}: write to one split.")
    others = {split: data for split, data in dataset.items() if split != "train"}
    ids, given = numbered(DatasetDict(others), [ENVIRONMENT], "environment") if others else ({}, [])
    common = [*given, *_names_of(environments)]
    written = {"train": _written(dataset["train"], (environments + len(given)).tolist(), common)}
    for split, data in others.items():
        written[split] = _written(data, ids[str(split)].tolist(), common)
    return DatasetDict(written)


def _written(dataset: Dataset, ids: list[int], names: list[str]) -> Dataset:
    if len(ids) != len(dataset):
        raise ValueError(f"{len(ids)} environments were inferred, but the data set has {len(dataset)} rows.")
    rest = dataset.remove_columns(ENVIRONMENT) if ENVIRONMENT in dataset.column_names else dataset
    return rest.add_column(ENVIRONMENT, ids, feature=ClassLabel(names=names))
