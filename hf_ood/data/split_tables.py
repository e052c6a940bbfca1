"""The splits of a dataset as tables: which of them have a part, and all of them as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets

from .asked_columns import Columns
from .origins import where
from .splits import ROLES, Protocol


def used_splits(
    splits: Mapping[str, Dataset], columns: Columns, protocol: Protocol, tell: Callable[[str], None]
) -> DatasetDict:
    """The splits that have a part: train, validation and test, or all where there is no train. A test split
    without labels has none where other rows are held out for testing; whatever has none is told."""
    used = {split: data for split, data in splits.items() if split in ROLES or "train" not in splits}
    if (
        "test" in used
        and protocol.test_environments
        and all(_is_unlabelled(used["test"], column) for column in columns.labels)
    ):
        tell(
            f"test: {len(used.pop('test')):,} rows without labels, not used: environments are held out "
            "instead"
        )
    for split, data in splits.items():
        if split not in used and split not in ROLES:
            tell(
                f"{split}: {len(data):,} rows, not used: there is a split train (--ignore_splits says so too)"
            )
    return DatasetDict(used)


def _is_unlabelled(data: Dataset, column: str) -> bool:
    if column not in data.column_names:
        return True
    values = data.with_format(None)[column][:]
    return all(value is None or value == -1 or value != value for value in values)


def together(dataset: DatasetDict, columns: Sequence[str]) -> Dataset:
    """These columns of all splits, one below the other. Raises `ValueError` where their types differ."""
    parts = {split: data.select_columns(list(columns)) for split, data in dataset.items()}
    first_split, first = next(iter(parts.items()))
    for split, part in parts.items():
        for column in columns:
            if part.features[column] != first.features[column]:
                try:
                    parts[split] = parts[split].cast_column(column, first.features[column])
                except Exception as error:  # Arrow raises many kinds
                    raise ValueError(
                        f"Column {column!r} holds {part.features[column]} in the split {split}, and "
                        f"{first.features[column]} in {first_split}: make them alike."
                    ) from error
    return concatenate_datasets(list(parts.values()))


def row_teller(dataset: DatasetDict) -> Callable[[int], str]:
    """Where a row of all splits together is, as the user counts."""

    def tell(row: int) -> str:
        for split, data in dataset.items():
            if row < len(data):
                return where(data, row, str(split))
            row -= len(data)
        raise IndexError(row)

    return tell


def by_split(values: np.ndarray, dataset: DatasetDict) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(data) for data in dataset.values()])[:-1]
    return dict(zip(map(str, dataset), np.split(values, ends), strict=True))


def joined(ids: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate(list(ids.values()))
